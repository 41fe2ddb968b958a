"""The endpoint as it is written with FastAPI: pydantic 2, asyncpg, redis.asyncio."""

import hashlib
import hmac
import os
import time
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated, Any

import asyncpg
import orjson
import redis.asyncio
from fastapi import FastAPI, HTTPException, Request
from pydantic import BaseModel, Field

SECRET = os.environ["SHOPIFY_API_SECRET"].encode()
NAME = r"^[a-z][a-z0-9]*(_[a-z0-9]+)*:[a-z][a-z0-9]*(_[a-z0-9]+)*$"
INSERT = """
INSERT INTO flat_events (shop_domain, insert_id, event, occurred_at, customer_id, client_id,
                         session_id, properties, context)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING
"""


class Event(BaseModel):
    event: Annotated[str, Field(max_length=100, pattern=NAME)]
    properties: dict[str, Any] = {}
    timestamp: datetime
    insert_id: Annotated[str, Field(alias="$insert_id", min_length=1, max_length=255)]


class Batch(BaseModel):
    events: Annotated[list[Event], Field(min_length=1, max_length=50)]
    context: dict[str, Any]


@asynccontextmanager
async def lifespan(app):
    app.state.redis = redis.asyncio.from_url(os.environ["REDIS_URL"])
    app.state.pool = await asyncpg.create_pool(os.environ["DATABASE_URL"], max_size=10)
    yield


app = FastAPI(lifespan=lifespan)


def verify(query):
    parameters = {}
    for key, value in query.multi_items():
        parameters.setdefault(key, []).append(value)
    signature = parameters.pop("signature", [""])[0]
    message = "".join(sorted(f"{key}={','.join(values)}" for key, values in parameters.items()))
    expected = hmac.new(SECRET, message.encode(), hashlib.sha256).hexdigest()
    fresh = abs(time.time() - int(query.get("timestamp", 0))) <= 90
    if not (hmac.compare_digest(expected, signature) and fresh):
        raise HTTPException(401, "INVALID_SIGNATURE")


@app.post("/apps/proxy_genlook-x/public/tracking/events")
async def receive_events(batch: Batch, request: Request):
    query = request.query_params
    verify(query)
    shop, context = query["shop"], batch.context
    async with app.state.redis.pipeline(transaction=False) as pipeline:
        for event in batch.events:
            pipeline.sadd(f"seen:{shop}", event.insert_id)
        pipeline.expire(f"seen:{shop}", 172_800)
        added = await pipeline.execute()
    fresh = [event for event, new in zip(batch.events, added, strict=False) if new]
    if fresh:
        async with app.state.pool.acquire() as connection:
            await connection.executemany(
                INSERT,
                [
                    (
                        shop, event.insert_id, event.event, event.timestamp,
                        query.get("logged_in_customer_id") or None,
                        context.get("genlook_client_id"), context.get("$session_id"),
                        orjson.dumps(event.properties).decode(), orjson.dumps(context).decode(),
                    )
                    for event in fresh
                ],
            )  # fmt: skip
    return {"success": True}
