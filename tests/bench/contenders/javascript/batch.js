// What the three have in common: the form of a body, and its rows.
import { z } from "zod";

export const PATH = "/apps/proxy_genlook-x/public/tracking/events";
export const BODY_LIMIT = 512 * 1024; // bytes
export const SEEN_LIFETIME = 172_800; // s
export const COLUMNS = "shop_domain, insert_id, event, occurred_at, customer_id, client_id,"
  + " session_id, properties, context";

const Event = z.looseObject({
  event: z.string().max(100).regex(/^[a-z][a-z0-9]*(_[a-z0-9]+)*:[a-z][a-z0-9]*(_[a-z0-9]+)*$/),
  properties: z.record(z.string(), z.unknown()).default({}),
  timestamp: z.iso.datetime({ offset: true, local: true }),
  $insert_id: z.string().min(1).max(255),
});
export const Batch = z.object({
  events: z.array(Event).min(1).max(50),
  context: z.record(z.string(), z.unknown()),
});

export const row = (event, context, shop, customer) => [
  shop, event.$insert_id, event.event, event.timestamp, customer || null,
  context.genlook_client_id, context.$session_id, event.properties, context,
];

// One INSERT for all rows: its text, and its parameters.
export function insertion(rows) {
  const values = [];
  const tuples = rows.map((cells) => `(${cells.map((cell) => `$${values.push(cell)}`).join(",")})`);
  const text = `INSERT INTO flat_events (${COLUMNS}) VALUES ${tuples.join(",")}`
    + " ON CONFLICT DO NOTHING";
  return { text, values };
}
