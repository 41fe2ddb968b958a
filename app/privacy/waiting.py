"""What still waits in the stream and in this machine's spool, before it is in Postgres."""

import logging
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple

import orjson
from redis import Redis

from app.intake import keys
from app.intake.batch import BATCH_COLUMNS, EVENT_COLUMNS, Batch, UnreadableEntry
from app.intake.spool import Spool
from app.intake.spooled import waits_since_before
from app.privacy.addresses import in_text

logger = logging.getLogger(__name__)

_AT_ONCE = 100  # entries, of up to 1 MiB each

_ESCAPES = {b"t": b"\t", b"n": b"\n", b"r": b"\r"}


class Sender(NamedTuple):
    """Of whom a batch is. `received_at` is None where that cannot be told."""

    received_at: datetime | None
    customer_id: str | None
    client_id: str | None


class Journals:
    def __init__(self, redis: Redis, spool: Spool, *, partitions: int) -> None:
        self._redis = redis
        self._spool = spool
        self._partitions = partitions

    def remove(self, shop: str, is_meant: Callable[[Batch], bool]) -> int:
        """Take out the shop's batches that are meant; returns how many. redis.RedisError.

        A batch that is on its way into Postgres just now arrives there all the same.
        """
        stream = keys.stream(keys.partition(shop, self._partitions))
        removed = 0
        for id_, batch in self._in_stream(stream, shop):
            if is_meant(batch):
                removed += int(self._redis.xdel(stream, id_))
        for number, batch in self._in_spool(shop):
            if is_meant(batch):
                self._spool.remove([number])
                removed += 1
        return removed

    def batches(self, shop: str) -> Iterator[Batch]:
        """All of the shop's that wait. redis.RedisError."""
        stream = keys.stream(keys.partition(shop, self._partitions))
        for _, batch in self._in_stream(stream, shop):
            yield batch
        for _, batch in self._in_spool(shop):
            yield batch

    def any_spooled(self, before: datetime) -> bool:
        """Whether some machine's spool holds what it took before a time. redis.RedisError."""
        return waits_since_before(self._redis, before.timestamp())

    def forget_shop(self, shop: str) -> None:
        """Delete the keys that bear the shop's name: sets of seen ids, rate counters."""
        found = list(self._redis.scan_iter(match=f"{{t*}}:*:{shop}:*", count=1_000))
        if found:
            self._redis.delete(*found)

    def close(self) -> None:
        self._redis.close()
        self._spool.close()

    def _in_stream(self, stream: str, shop: str) -> Iterator[tuple[bytes, Batch]]:
        newest: Any = self._redis.xrevrange(stream, count=1)
        if not newest:
            return
        start, end = "-", newest[0][0]
        while True:
            entries: Any = self._redis.xrange(stream, start, end, count=_AT_ONCE)
            for id_, fields in entries:
                if fields.get(b"shop") == shop.encode():
                    with suppress(UnreadableEntry):  # the worker keeps it as rejected
                        yield id_, Batch.from_entry(fields)
            if len(entries) < _AT_ONCE:
                return
            start = b"(" + entries[-1][0]

    def _in_spool(self, shop: str) -> Iterator[tuple[int, Batch]]:
        after = 0
        try:
            while spooled := self._spool.oldest(_AT_ONCE, after=after):
                for id_, entry in spooled:
                    if entry[b"shop"] == shop.encode():
                        with suppress(UnreadableEntry):
                            yield id_, Batch.from_entry(entry)
                after = spooled[-1].id
        except (OSError, sqlite3.Error) as error:
            # What comes out of it later is found in Postgres then.
            logger.warning(
                "the spool of this machine cannot be searched",
                extra={"action": "spool_not_searched", "cause": type(error).__name__},
            )


def sender(batch: Batch) -> Sender:
    """Who sent a batch, read from its line, or where no event was valid, from what was rejected."""
    if batch.line:
        try:
            return sender_of_line(batch.line)
        except (ValueError, IndexError):  # the worker will keep it as rejected
            return Sender(None, None, None)
    rejected = orjson.loads(batch.rejected)
    context = orjson.loads(rejected["context"] or b"{}")
    texts = [item["payload"] for item in rejected["items"]]
    return Sender(
        datetime.fromisoformat(rejected["received_at"]),
        rejected["customer_id"],
        client_in_context(context) or next(filter(None, map(client_in_text, texts)), None),
    )


def sender_of_line(line: bytes) -> Sender:
    """ValueError, IndexError: it is not the line of a batch."""
    cells = _cells(line)
    received_at, customer_id, client_id = (
        cells[BATCH_COLUMNS.index(name)] for name in ("received_at", "customer_id", "client_id")
    )
    return Sender(datetime.fromisoformat(received_at or ""), customer_id or None, client_id or None)


def addresses(batch: Batch) -> Iterator[str]:
    """The e-mail addresses that a batch holds, normalized, and hashed ones."""
    for line in batch.events.values():
        cells = _cells(line)
        for name in ("properties", "extra"):
            yield from in_text(cells[EVENT_COLUMNS.index(name)] or "{}")
    if batch.rejected:
        for item in orjson.loads(batch.rejected)["items"]:
            yield from in_text(item["payload"])


def client_in_context(context: Any) -> str | None:
    client = context.get("genlook_client_id") if isinstance(context, dict) else None
    return client if isinstance(client, str) else None


def client_in_text(text: str) -> str | None:
    """From a body that could not be used, perhaps not even read."""
    match = re.search(r'"genlook_client_id"\s*:\s*"([^"\\]+)"', text)
    return match[1] if match else None


def _cells(line: bytes) -> list[str | None]:
    """A line of COPY's text format as values."""
    return [
        None
        if cell == rb"\N"
        else re.sub(rb"\\(.)", lambda match: _ESCAPES.get(match[1], match[1]), cell).decode()
        for cell in line.split(b"\t")
    ]
