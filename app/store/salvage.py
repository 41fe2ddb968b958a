"""Writing past whatever cannot be stored.

A batch that Postgres refuses is halved until the one bad event stands alone; that one goes to
rejected_events with the reason, the rest is stored.
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import orjson
import psycopg

from app.batch.batch import Batch
from app.store.rejected import UNREADABLE, UNSTORABLE

logger = logging.getLogger(__name__)


def write_past_poison(write: Callable[[list[Batch]], int], batches: list[Batch]) -> int:
    """Store all that can be stored; returns how many events were new.

    Raises what `write` raises where Postgres is away: then all of it may be written again.
    """
    try:
        return write(batches)
    except Exception as error:
        if _is_away(error):
            raise
        parts = _halve(batches)
        if parts:
            return sum(write_past_poison(write, part) for part in parts)
        write([_unstorable(batches[0], error)])
        return 0


def unreadable(entry: bytes, shop: str, reason: str) -> Batch:
    """A batch that puts a journal's entry into rejected_events."""
    logger.error(
        "an entry cannot be read, it is kept in rejected_events",
        extra={"action": "poison", "cause": reason},
    )
    return _rejection(shop, UNREADABLE, reason, entry)


def _unstorable(batch: Batch, error: Exception) -> Batch:
    reason = f"{type(error).__name__}: {error}".splitlines()[0]
    logger.error(
        "an event cannot be stored, it is kept in rejected_events",
        # The whole reason, which may quote what a shopper sent, is in the table only.
        extra={"action": "poison", "shop": batch.shop, "cause": type(error).__name__},
    )
    payload = b"\n".join([batch.line, *batch.events]) or batch.rejected
    return _rejection(batch.shop, UNSTORABLE, reason, payload)


def _is_away(error: Exception) -> bool:
    """Whether the fault is the server's state and not the rows': then nothing is given up."""
    if isinstance(error, psycopg.OperationalError):
        is_too_much = (error.sqlstate or "").startswith("54")  # program limit exceeded
        return not is_too_much
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
