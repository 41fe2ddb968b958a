"""The table rejected_events: what was refused, for whoever wants to see why, or to replay it."""

import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from hashlib import blake2b
from typing import Any

import orjson
from psycopg import Connection

from app.batch.batch import Batch
from app.store.walks import delete_in_steps

# What a caller sent was accepted, and then could not be stored: never dropped by the cap.
UNREADABLE = "UNREADABLE_ENTRY"
UNSTORABLE = "UNSTORABLE"

# Of a shop and a day. A widget gone wrong shows itself in the first of them; junk must not push out
# what is rejected for another reason, so a cause has its own bound, and beyond the shop's a reserve
# of the same size keeps the first few of each cause.
MOST_ROWS = 1_000
MOST_BYTES = 16 * 1024 * 1024  # of payloads
MOST_OF_A_CAUSE = 100
FIRST_OF_A_CAUSE = 5

_COUNT_AGAIN_AFTER = 5.0  # s; other processes keep rows too
_MOST_SHOPS = 10_000  # that are remembered
_DIGITS = re.compile("[0-9]+")

_Row = dict[str, Any]


@dataclass
class _Day:
    """What is kept of a shop today."""

    counted_at: float  # monotonic
    rows: int = 0
    size: int = 0  # bytes of payloads
    causes: Counter[str] = field(default_factory=Counter)
    admitted: set[str] = field(default_factory=set)  # keys, since it was counted

    def admits(self, row: _Row) -> bool:
        """The same again for a row that comes again: its transaction was rolled back."""
        if row["key"] not in self.admitted:
            cause = _cause(row["code"], row["details"])
            if not self._has_room(cause):
                return False
            self.add(cause, 1, len(row["payload"]))
            self.admitted.add(row["key"])
        return True

    def add(self, cause: str, rows: int, size: int) -> None:
        self.rows += rows
        self.size += size
        self.causes[cause] += rows

    def _has_room(self, cause: str) -> bool:
        used = max(self.rows / MOST_ROWS, self.size / MOST_BYTES)
        most = MOST_OF_A_CAUSE if used < 1 else FIRST_OF_A_CAUSE if used < 2 else 0
        return self.causes[cause] < most


class Rejections:
    """Keeps what batches bring along, within bounds. Safe to share between threads."""

    def __init__(self) -> None:
        self._days: dict[tuple[date, str], _Day] = {}

    def write(self, connection: Connection, batches: Sequence[Batch]) -> None:
        """Store what is rejected; a redelivered one is stored once."""
        rows = [row for batch in batches if batch.rejected for row in _rows(batch)]
        if rows:
            with connection.cursor() as cursor:
                cursor.executemany(
                    "INSERT INTO rejected_events (reject_key, shop_domain, received_at, code,"
                    " details, payload, context, customer_id, event_index)"
                    " VALUES (%(key)s, %(shop)s, %(received_at)s, %(code)s, %(details)s::jsonb,"
                    " %(payload)s, %(context)s::jsonb, %(customer_id)s, %(index)s)"
                    " ON CONFLICT DO NOTHING",
                    list(self._within_bounds(connection, rows)),
                )

    def _within_bounds(self, connection: Connection, rows: Sequence[_Row]) -> Iterator[_Row]:
        today = datetime.now(UTC).date()
        days = self._counted(connection, today, {row["shop"] for row in rows})
        for row in rows:
            if row["code"] in (UNREADABLE, UNSTORABLE) or days[row["shop"]].admits(row):
                yield row

    def _counted(self, connection: Connection, today: date, shops: set[str]) -> dict[str, _Day]:
        now = time.monotonic()
        known = {shop: self._days.get((today, shop)) for shop in shops}
        days = {
            shop: day for shop, day in known.items()
            if day and now - day.counted_at < _COUNT_AGAIN_AFTER
        }  # fmt: skip
        new = {shop: _Day(now) for shop in shops - days.keys()}
        if not new:
            return days
        for shop, code, details, number, size in connection.execute(
            "SELECT shop_domain, code, details::text, count(*), sum(pg_column_size(payload))"
            " FROM rejected_events WHERE shop_domain = ANY(%s) AND received_at >= %s"
            " GROUP BY 1, 2, 3",
            [list(new), datetime.combine(today, datetime.min.time(), UTC)],
        ):
            new[shop].add(_cause(code, details), number, size)
        if len(self._days) > _MOST_SHOPS:
            self._days.clear()
        self._days.update({(today, shop): day for shop, day in new.items()})
        return days | new


def _cause(code: str, details: str) -> str:
    """The code and the details, JSON, without the numbers in them."""
    texts = [part for detail in orjson.loads(details) for part in sorted(detail.items())]
    return _DIGITS.sub("", f"{code} {texts}")


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
