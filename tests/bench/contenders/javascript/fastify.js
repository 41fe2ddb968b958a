// The endpoint with Fastify 5, the fastest of the usual frameworks of Node.js, with ioredis and pg.
import fastify from "fastify";
import Redis from "ioredis";
import pg from "pg";
import { BODY_LIMIT, Batch, PATH, SEEN_LIFETIME, insertion, row } from "./batch.js";
import { isSigned } from "./signature.js";

const redis = new Redis(process.env.REDIS_URL, { enableAutoPipelining: true });
const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 10 });
const app = fastify({
  bodyLimit: BODY_LIMIT,
  routerOptions: { querystringParser: (text) => new URLSearchParams(text) },
});

app.post(PATH, async (request, reply) => {
  const { query } = request;
  if (!isSigned(query)) {
    return reply.code(401).send({ success: false, code: "INVALID_SIGNATURE" });
  }
  const parsed = Batch.safeParse(request.body);
  if (!parsed.success) {
    return reply.code(400).send({ success: false, details: parsed.error.issues });
  }
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
    await pool.query(insertion(fresh.map((event) => row(event, context, shop, customer))));
  }
  return { success: true };
});

await app.listen({ port: Number(process.env.PORT), host: "127.0.0.1" });
