"""Storing all that can be stored, and isolating what cannot.

A batch that Postgres refuses is halved until the one bad event stands alone; that one goes to
rejected_events with the reason, the rest is stored.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

import orjson
import psycopg
from psycopg.errors import InternalError_, ReadOnlySqlTransaction

from app.batch.batch import Batch, UnreadableEntry
from app.store.rejected import UNREADABLE, UNSTORABLE
from config.causes import cause

logger = logging.getLogger(__name__)


def write_isolating(write: Callable[[list[Batch]], int], batches: list[Batch]) -> int:
    """Store all that can be stored; returns how many events were new.

    Raises what `write` raises where the rows are not at fault: then write all of it again.
    """
    try:
        return write(batches)
    except Exception as error:
        if _is_transient(error):
            raise
        parts = _halve(batches)
        if parts:
            return sum(write_isolating(write, part) for part in parts)
        write([_unstorable(batches[0], error)])
        return 0


def read_or_reject(
    fields: Mapping[bytes, bytes],
    name: str,
    read: Callable[[Mapping[bytes, bytes]], Batch] = Batch.from_entry,
) -> Batch:
    """The batch of a journal's entry. Where it cannot be read, a batch that keeps the entry in
    rejected_events, with `name` for whoever looks it up. NewerEntry: leave it in its journal."""
    try:
        return read(fields)
    except UnreadableEntry as error:
        reason = f"{name}: {error}"
    logger.error(
        "an entry cannot be read, it is kept in rejected_events",
        extra={"action": "poison", "cause": reason},
    )
    shop = fields.get(b"shop", b"").decode(errors="replace")
    text = b"\n".join(b"%b %b" % field for field in fields.items())
    return _rejection(shop, UNREADABLE, reason, text)


def _unstorable(batch: Batch, error: Exception) -> Batch:
    logger.error(
        "an event cannot be stored, it is kept in rejected_events",
        extra={"action": "poison", "shop": batch.shop, "cause": cause(error)},
    )
    payload = b"\n".join([batch.line, *batch.events]) or batch.rejected
    return _rejection(batch.shop, UNSTORABLE, cause(error), payload)


def _is_transient(error: Exception) -> bool:
    """Whether the fault is the server's state and not the rows': then nothing is given up."""
    if isinstance(error, psycopg.OperationalError):
        is_too_much = (error.sqlstate or "").startswith("54")  # program limit exceeded
        return not is_too_much
    if isinstance(error, ReadOnlySqlTransaction):  # it was the primary
        return True
    if isinstance(error, InternalError_):  # as a Citus says that it lost a node in between
        return "connection" in str(error)
    return isinstance(error, psycopg.InterfaceError | psycopg.ProgrammingError | OSError)


def _halve(batches: list[Batch]) -> tuple[list[Batch], list[Batch]] | None:
    """Two parts with the same events in all; None where there is but one thing left."""
    if len(batches) > 1:
        middle = len(batches) // 2
        return batches[:middle], batches[middle:]
    [batch] = batches
    if batch.events and batch.rejected:
        return [replace(batch, events=[])], [replace(batch, rejected=b"")]
    if len(batch.events) > 1:
        middle = len(batch.events) // 2
        first, second = batch.events[:middle], batch.events[middle:]
        return [replace(batch, events=first)], [replace(batch, events=second)]
    return None


def _rejection(shop: str, code: str, reason: str, payload: bytes) -> Batch:
    item = {
        "index": None,
        "code": code,
        "details": [{"path": "", "message": reason.replace("\0", "\ufffd")}],
        "payload": payload.decode(errors="replace").replace("\0", "\ufffd"),
    }
    rejected = {
        "received_at": datetime.now(UTC).isoformat(),
        "customer_id": None,
        "context": None,
        "items": [item],
    }
    return Batch(shop.replace("\0", "\ufffd"), rejected=orjson.dumps(rejected))
