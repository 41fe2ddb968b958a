// The endpoint as a Shopify developer writes it with Node.js: Express 5, Shopify's own library for
// the signature, zod for the body, a Redis SET for repeats, one multi-row INSERT.
import "@shopify/shopify-api/adapters/node";
import { LogSeverity, shopifyApi } from "@shopify/shopify-api";
import express from "express";
import Redis from "ioredis";
import pg from "pg";
import { BODY_LIMIT, Batch, PATH, SEEN_LIFETIME, insertion, row } from "./batch.js";

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

const app = express();
app.use(express.json({ limit: BODY_LIMIT }));

app.post(PATH, async (req, res) => {
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
  pipeline.expire(seen, SEEN_LIFETIME);
  const added = await pipeline.exec();
  const fresh = events.filter((_, index) => added[index][1] === 1);
  if (fresh.length > 0) {
    await pool.query(insertion(fresh.map((event) => row(event, context, shop, customer))));
  }
  res.json({ success: true });
});

app.listen(Number(process.env.PORT), "127.0.0.1");
