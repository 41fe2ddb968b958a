"""The endpoint as it is written with Flask: marshmallow, psycopg, redis-py, all in the request."""

import hashlib
import hmac
import os
import time

from flask import Flask, jsonify, request
from marshmallow import EXCLUDE, INCLUDE, Schema, ValidationError, fields, validate
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool
from redis import Redis

SECRET = os.environ["SHOPIFY_API_SECRET"].encode()
NAME = r"^[a-z][a-z0-9]*(_[a-z0-9]+)*:[a-z][a-z0-9]*(_[a-z0-9]+)*$"
INSERT = """
INSERT INTO flat_events (shop_domain, insert_id, event, occurred_at, customer_id, client_id,
                         session_id, properties, context)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""


class EventSchema(Schema):
    class Meta:
        unknown = INCLUDE

    event = fields.String(required=True, validate=[validate.Length(max=100), validate.Regexp(NAME)])
    properties = fields.Dict(load_default=dict)
    timestamp = fields.AwareDateTime(format="iso", required=True)
    insert_id = fields.String(
        required=True, data_key="$insert_id", validate=validate.Length(min=1, max=255)
    )


class BatchSchema(Schema):
    class Meta:
        unknown = EXCLUDE

    events = fields.List(
        fields.Nested(EventSchema), required=True, validate=validate.Length(min=1, max=50)
    )
    context = fields.Dict(required=True)


app = Flask(__name__)
schema = BatchSchema()
redis = Redis.from_url(os.environ["REDIS_URL"])
pool = ConnectionPool(os.environ["DATABASE_URL"], min_size=1, max_size=8, open=False)


def is_signed():
    parameters = request.args.to_dict(flat=False)
    signature = parameters.pop("signature", [""])[0]
    message = "".join(sorted(f"{key}={','.join(values)}" for key, values in parameters.items()))
    expected = hmac.new(SECRET, message.encode(), hashlib.sha256).hexdigest()
    fresh = abs(time.time() - int(request.args.get("timestamp", 0))) <= 90
    return fresh and hmac.compare_digest(expected, signature)


@app.post("/apps/proxy_genlook-x/public/tracking/events")
def receive_events():
    if not is_signed():
        return jsonify(success=False, code="INVALID_SIGNATURE"), 401
    try:
        batch = schema.load(request.get_json(force=True))
    except ValidationError as error:
        return jsonify(success=False, details=error.messages), 400
    shop, context = request.args["shop"], batch["context"]
    with redis.pipeline(transaction=False) as pipeline:
        for event in batch["events"]:
            pipeline.sadd(f"seen:{shop}", event["insert_id"])
        pipeline.expire(f"seen:{shop}", 172_800)
        added = pipeline.execute()
    fresh = [event for event, new in zip(batch["events"], added, strict=False) if new]
    if fresh:
        pool.open()
        with pool.connection() as connection, connection.cursor() as cursor:
            cursor.executemany(
                INSERT,
                [
                    (
                        shop, event["insert_id"], event["event"], event["timestamp"],
                        request.args.get("logged_in_customer_id") or None,
                        context.get("genlook_client_id"), context.get("$session_id"),
                        Jsonb(event["properties"]), Jsonb(context),
                    )
                    for event in fresh
                ],
            )  # fmt: skip
    return jsonify(success=True)
