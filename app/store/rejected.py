"""The table rejected_events: what was refused, for whoever wants to see why, or to replay it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any

import orjson
from psycopg import Connection

from app.batch.batch import Batch
from app.store.walks import delete_in_steps

# What a caller sent was accepted, and then could not be stored: never dropped by the cap.
UNREADABLE = "UNREADABLE_ENTRY"
UNSTORABLE = "UNSTORABLE"

MAX_PER_SHOP_AND_DAY = 1_000  # a widget gone wrong shows itself in the first of them

_Row = dict[str, Any]


def write_rejected(connection: Connection, batches: Sequence[Batch]) -> None:
    """Store what the batches bring along, up to the cap; a redelivered one is stored once."""
    rows = [row for batch in batches if batch.rejected for row in _rows(batch)]
    if rows:
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO rejected_events (reject_key, shop_domain, received_at, code, details,"
                " payload, context, customer_id, event_index)"
                " VALUES (%(key)s, %(shop)s, %(received_at)s, %(code)s, %(details)s::jsonb,"
                " %(payload)s, %(context)s::jsonb, %(customer_id)s, %(index)s)"
                " ON CONFLICT DO NOTHING",
                list(_within_cap(connection, rows)),
            )


def delete_expired(connection: Connection, retention_days: int) -> int:
    """Delete what is older, step by step; returns the number of rows."""
    oldest = datetime.now(UTC) - timedelta(days=retention_days)
    return delete_in_steps(
        connection, "rejected_events", "received_at < %(oldest)s", {"oldest": oldest}
    )


def _rows(batch: Batch) -> Iterator[_Row]:
    rejected = orjson.loads(batch.rejected)
    for number, item in enumerate(rejected["items"]):
        key = blake2b(b"%d %b %b" % (number, batch.shop.encode(), batch.rejected), digest_size=16)
        yield {
            "key": key.hexdigest(),
            "shop": batch.shop,
            "received_at": rejected["received_at"],
            "code": item["code"],
            "details": orjson.dumps(item["details"]).decode(),
            "payload": item["payload"],
            "context": rejected["context"],
            "customer_id": rejected["customer_id"],
            "index": item["index"],
        }


def _within_cap(connection: Connection, rows: Sequence[_Row]) -> Iterator[_Row]:
    shops = list({row["shop"] for row in rows})
    kept: Counter[str] = Counter(
        dict(
            connection.execute(
                "SELECT shop_domain, count(*) FROM rejected_events"
                " WHERE shop_domain = ANY(%s) AND received_at >= %s GROUP BY 1",
                [shops, datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)],
            ).fetchall()
        )
    )
    for row in rows:
        if row["code"] in (UNREADABLE, UNSTORABLE):
            yield row
        elif kept[row["shop"]] < MAX_PER_SHOP_AND_DAY:
            kept[row["shop"]] += 1
            yield row
