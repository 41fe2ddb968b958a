"""Calls as Shopify's app proxy makes them."""

import copy
import itertools
import json
import time

from psycopg.rows import dict_row

from app.shopify.app_proxy import sign

SECRET = "test-secret"
SHOP = "a-shop.myshopify.com"
PATH = "/apps/proxy_genlook-x/public/tracking/events"

EVENT = {
    "event": "widget:button_click",
    "properties": {"product_id": "gid://shopify/Product/456"},
    "timestamp": "2024-01-15T10:30:00Z",
    "$insert_id": "event_123",
}
CONTEXT = {
    "$current_url": "https://yourstore.com/products/tshirt",
    "$host": "yourstore.com",
    "$session_id": "session_abc123",
    "genlook_client_id": "550e8400-e29b-41d4-a716-446655440000",
    "genlook_product_id": "gid://shopify/Product/456",
}
_ids = itertools.count()


def event(**fields):
    """A valid event with an id of its own; `insert_id` stands for $insert_id."""
    if "insert_id" in fields:
        fields["$insert_id"] = fields.pop("insert_id")
    return {**copy.deepcopy(EVENT), "$insert_id": f"id-{next(_ids)}", **fields}


def body(*events, context=CONTEXT):
    return {"events": list(events) or [event()], "context": context}


def query(shop=SHOP, customer="", secret=SECRET, timestamp=None, extra=()):
    return sign(
        [
            *extra,
            ("shop", shop),
            ("logged_in_customer_id", customer),
            ("path_prefix", "/apps/proxy_genlook-x"),
            ("timestamp", str(int(time.time() if timestamp is None else timestamp))),
        ],
        secret,
    )


class Caller:
    def __init__(self, client, database, drain):
        self._client = client
        self.extensions = client.application.extensions
        self._database = database
        self._drain = drain

    def post(self, document=None, *, raw=None, path=PATH, query_string=None, headers=(), **signed):
        data = raw if raw is not None else json.dumps(document)
        return self._client.post(
            path,
            data=data,
            query_string=query(**signed) if query_string is None else query_string,
            headers={"Content-Type": "application/json", **dict(headers)},
        )

    def get(self, path, headers=()):
        return self._client.get(path, headers=dict(headers))

    def rows(self, table="tracked_events", order="occurred_at, insert_id"):
        """What is stored in the end, as dicts."""
        self._drain()
        with self._database.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(f"SELECT * FROM {table} ORDER BY {order}").fetchall()

    def rejected(self):
        return self.rows("rejected_events", "id")

    def outcomes(self):
        """What the app has counted and not yet sent on."""
        return self.extensions["intake"].outcomes.take()


def odd_event(**changes):
    """An event with numbers beyond 64 bits, and deeper than most JSON libraries go."""
    deep = {}
    for _ in range(600):
        deep = {"a": deep}
    return event(properties={"n": 1e30, "m": 2**64}, deep=deep, **changes)
