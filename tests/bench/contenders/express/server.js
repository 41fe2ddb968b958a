// The endpoint as a Shopify developer writes it with Node.js: Express 5, Shopify's own library for
// the signature, zod for the body, a Redis SET for repeats, one multi-row INSERT.
import "@shopify/shopify-api/adapters/node";
import { LogSeverity, shopifyApi } from "@shopify/shopify-api";
import express from "express";
import Redis from "ioredis";
import pg from "pg";
import { z } from "zod";

const shopify = shopifyApi({
  apiKey: "key",
  apiSecretKey: process.env.SHOPIFY_API_SECRET,
  apiVersion: "2026-01",
  hostName: "localhost",
  isEmbeddedApp: true,
  logger: { level: LogSeverity.Error },
});
const redis = new Redis(process.env.REDIS_URL);
const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 10 });

const Event = z.looseObject({
  event: z.string().max(100).regex(/^[a-z][a-z0-9]*(_[a-z0-9]+)*:[a-z][a-z0-9]*(_[a-z0-9]+)*$/),
  properties: z.record(z.string(), z.unknown()).default({}),
  timestamp: z.iso.datetime({ offset: true, local: true }),
  $insert_id: z.string().min(1).max(255),
});
const Batch = z.object({
  events: z.array(Event).min(1).max(50),
  context: z.record(z.string(), z.unknown()),
});

const app = express();
app.use(express.json({ limit: "512kb" }));

app.post("/apps/proxy_genlook-x/public/tracking/events", async (req, res) => {
  const valid = await shopify.utils
    .validateHmac(req.query, { signator: "appProxy" })
    .catch(() => false);
  if (!valid) return res.status(401).json({ success: false, code: "INVALID_SIGNATURE" });
  const parsed = Batch.safeParse(req.body);
  if (!parsed.success) {
    return res.status(400).json({ success: false, details: parsed.error.issues });
  }
  const { events, context } = parsed.data;
  const { shop, logged_in_customer_id: customer } = req.query;
  const seen = `seen:${shop}`;
  const pipeline = redis.pipeline();
  for (const event of events) pipeline.sadd(seen, event.$insert_id);
  pipeline.expire(seen, 172800);
  const added = await pipeline.exec();
  const fresh = events.filter((_, index) => added[index][1] === 1);
  if (fresh.length > 0) {
    const values = [];
    const rows = fresh.map((event) => {
      const { event: name, properties, timestamp, $insert_id } = event;
      const row = [shop, $insert_id, name, timestamp, customer || null,
        context.genlook_client_id, context.$session_id, properties, context];
      return `(${row.map((value) => `$${values.push(value)}`).join(",")})`;
    });
    await pool.query(
      `INSERT INTO flat_events (shop_domain, insert_id, event, occurred_at, customer_id, client_id,
       session_id, properties, context) VALUES ${rows.join(",")} ON CONFLICT DO NOTHING`,
      values,
    );
  }
  res.json({ success: true });
});

app.listen(Number(process.env.PORT), "127.0.0.1");
