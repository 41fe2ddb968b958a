// The endpoint with nothing but Bun's own: HTTP, Redis and Postgres.
import { RedisClient, SQL } from "bun";
import { BODY_LIMIT, Batch, PATH, SEEN_LIFETIME, insertion, row } from "./batch.js";
import { isSigned } from "./signature.js";

const redis = new RedisClient(process.env.REDIS_URL);
const sql = new SQL(process.env.DATABASE_URL, { max: 10 });
const failed = (status, fields) => Response.json({ success: false, ...fields }, { status });

async function receive(request) {
  const query = new URLSearchParams(request.url.slice(request.url.indexOf("?") + 1));
  if (!isSigned(query)) return failed(401, { code: "INVALID_SIGNATURE" });
  const parsed = Batch.safeParse(await request.json().catch(() => null));
  if (!parsed.success) return failed(400, { details: parsed.error.issues });
  const { events, context } = parsed.data;
  const shop = query.get("shop");
  const customer = query.get("logged_in_customer_id");
  const seen = `seen:${shop}`;
  const added = await Promise.all([
    ...events.map((event) => redis.sadd(seen, event.$insert_id)),
    redis.expire(seen, SEEN_LIFETIME),
  ]);
  const fresh = events.filter((_, index) => added[index] === 1);
  if (fresh.length > 0) {
    const { text, values } = insertion(fresh.map((event) => row(event, context, shop, customer)));
    await sql.unsafe(text, values);
  }
  return Response.json({ success: true });
}

Bun.serve({
  port: Number(process.env.PORT),
  hostname: "127.0.0.1",
  maxRequestBodySize: BODY_LIMIT,
  routes: { [PATH]: { POST: receive } },
});
