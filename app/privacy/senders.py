"""Of whom a batch is that is not in Postgres yet, or that never could be."""

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from app.batch.addresses import in_text, unescaped
from app.batch.batch import BATCH_COLUMNS, EVENT_COLUMNS, Batch
from app.privacy.subject import Fingerprints

_CLIENT = re.compile(r'"genlook_client_id"\s*:\s*"((?:[^"\\]|\\.)+)"')
_ESCAPES = {b"t": b"\t", b"n": b"\n", b"r": b"\r"}


class Sender(NamedTuple):
    """Of whom a batch is. `received_at` is None where that cannot be told. What could not be used
    may name more than one browser."""

    received_at: datetime | None
    customer_id: str | None
    client_ids: frozenset[str] = frozenset()


def sender(batch: Batch) -> Sender:
    """Who sent a batch, read from its line, or where no event was valid, from what was rejected."""
    if batch.line:
        try:
            return sender_of_line(batch.line)
        except (ValueError, IndexError):  # the worker will keep it as rejected
            return Sender(None, None)
    rejected = orjson.loads(batch.rejected)
    context = orjson.loads(rejected["context"] or b"{}")
    texts = [item["payload"] for item in rejected["items"]]
    return Sender(
        datetime.fromisoformat(rejected["received_at"]),
        rejected["customer_id"],
        clients_of_rejected(context, *texts),
    )


def sender_of_line(line: bytes) -> Sender:
    """ValueError, IndexError: it is not the line of a batch."""
    cells = _cells(line)
    received_at, customer_id, client_id = (
        cells[BATCH_COLUMNS.index(name)] for name in ("received_at", "customer_id", "client_id")
    )
    clients = frozenset([client_id] if client_id else [])
    return Sender(datetime.fromisoformat(received_at or ""), customer_id or None, clients)


def addresses(batch: Batch) -> Iterator[str]:
    """The e-mail addresses that a batch holds, normalized, and hashed ones."""
    for line in batch.events:
        cells = _cells(line)
        for name in ("properties", "extra"):
            yield from in_text(cells[EVENT_COLUMNS.index(name)] or "{}")
    if batch.rejected:
        for item in orjson.loads(batch.rejected)["items"]:
            yield from in_text(item["payload"])


def clients_of_rejected(context: Any, *texts: str) -> frozenset[str]:
    """The client id of the context; without one, all that are named in the texts of bodies that
    could not be used, perhaps not even read."""
    client = context.get("genlook_client_id") if isinstance(context, dict) else None
    if client and isinstance(client, str):
        return frozenset([client])
    return frozenset(unescaped(client) for text in texts for client in _CLIENT.findall(text))


def _cells(line: bytes) -> list[str | None]:
    """A line of COPY's text format as values."""
    return [
        None
        if cell == rb"\N"
        else re.sub(rb"\\(.)", lambda match: _ESCAPES.get(match[1], match[1]), cell).decode()
        for cell in line.split(b"\t")
    ]


def belongs_to(fingerprints: Fingerprints, before: datetime) -> Callable[[Batch], bool]:
    was_received = was_received_before(before)

    def is_his(batch: Batch) -> bool:
        if not was_received(batch):
            return False
        _, customer_id, client_ids = sender(batch)
        return fingerprints.owns(customer_id, *client_ids) or (
            customer_id is None and fingerprints.mentions(addresses(batch))
        )

    return is_his


def was_received_before(before: datetime) -> Callable[[Batch], bool]:
    def was_received(batch: Batch) -> bool:
        received_at = sender(batch).received_at
        return received_at is None or received_at < before

    return was_received
