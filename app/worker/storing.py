"""From stream entries to rows, past whatever cannot be stored.

A batch that Postgres refuses is halved until the one bad event stands alone; that one goes to
rejected_events with the reason, the rest is stored. Nothing blocks the stream but a Postgres that
is away, and then nothing is taken from it.
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice

import orjson
import psycopg
from psycopg import Connection

from app.intake.batch import Batch, UnreadableEntry
from app.store.writer import Writer
from app.worker.consumer import Entry

logger = logging.getLogger(__name__)

UNREADABLE = "UNREADABLE_ENTRY"
UNSTORABLE = "UNSTORABLE"


class Storing:
    def __init__(self, connect: Callable[[], Connection], writer: Writer) -> None:
        self._connect = connect
        self._writer = writer
        self._connection: Connection | None = None

    def connection(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = self._connect()
        return self._connection

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def store(self, entries: list[Entry]) -> None:
        """Returns when all is committed. psycopg.Error: Postgres is away, call again later."""
        batches = [_read(entry) for entry in entries]
        self._write([batch for batch in batches if batch.events or batch.rejected])

    def _write(self, batches: list[Batch]) -> None:
        if not batches:
            return
        try:
            self._writer.write(self.connection(), batches)
        except Exception as error:
            if _is_away(error):
                raise
            parts = _halve(batches)
            if parts is None:
                self._reject(batches[0], error)
            else:
                for part in parts:
                    self._write(part)

    def _reject(self, batch: Batch, error: Exception) -> None:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        logger.error(
            "an event cannot be stored, it is kept in rejected_events",
            extra={"action": "poison", "shop": batch.shop, "cause": reason},
        )
        payload = b"\n".join([batch.line, *batch.events.values()]) or batch.rejected
        self._writer.write(self.connection(), [_rejection(batch.shop, UNSTORABLE, reason, payload)])


def _read(entry: Entry) -> Batch:
    try:
        return Batch.from_entry(entry.fields)
    except UnreadableEntry as error:
        logger.error(
            "an entry cannot be read, it is kept in rejected_events",
            extra={"action": "poison", "entry": entry.id.decode(), "cause": str(error)},
        )
        shop = entry.fields.get(b"shop", b"").decode(errors="replace")
        payload = b"\n".join(b"%b %b" % field for field in entry.fields.items())
        return _rejection(shop, UNREADABLE, f"entry {entry.id.decode()}: {error}", payload)


def _is_away(error: Exception) -> bool:
    """Whether the fault is the server's state and not the rows': then nothing is given up."""
    if isinstance(error, psycopg.OperationalError):
        too_much = (error.sqlstate or "").startswith("54")  # program limit exceeded
        return not too_much
    return isinstance(error, psycopg.InterfaceError | psycopg.ProgrammingError | OSError)


def _halve(batches: list[Batch]) -> tuple[list[Batch], list[Batch]] | None:
    """Two parts with the same events in all; None where there is but one thing left."""
    if len(batches) > 1:
        middle = len(batches) // 2
        return batches[:middle], batches[middle:]
    [batch] = batches
    if batch.events and batch.rejected:
        return [replace(batch, events={})], [replace(batch, rejected=b"")]
    if len(batch.events) > 1:
        items = iter(batch.events.items())
        first = dict(islice(items, len(batch.events) // 2))
        return [replace(batch, events=first)], [replace(batch, events=dict(items))]
    return None


def _rejection(shop: str, code: str, reason: str, payload: bytes) -> Batch:
    item = {
        "code": code,
        "details": [{"path": "", "message": reason.replace("\0", "\ufffd")}],
        "payload": payload.decode(errors="replace").replace("\0", "\ufffd"),
    }
    rejected = {"received_at": datetime.now(UTC).isoformat(), "context": None, "items": [item]}
    return Batch(shop.replace("\0", "\ufffd"), rejected=orjson.dumps(rejected))
