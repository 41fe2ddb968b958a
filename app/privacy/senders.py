"""Of whom a batch is that is not in Postgres yet, or that never could be."""

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from app.intake.batch import BATCH_COLUMNS, EVENT_COLUMNS, Batch
from app.privacy.addresses import in_text
from app.privacy.subject import Traces

_ESCAPES = {b"t": b"\t", b"n": b"\n", b"r": b"\r"}


class Sender(NamedTuple):
    """Of whom a batch is. `received_at` is None where that cannot be told."""

    received_at: datetime | None
    customer_id: str | None
    client_id: str | None


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
    for line in batch.events:
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


def is_his_of(traces: Traces, before: datetime) -> Callable[[Batch], bool]:
    was_received = was_received_before(before)

    def is_his(batch: Batch) -> bool:
        if not was_received(batch):
            return False
        _, customer_id, client_id = sender(batch)
        return traces.own(customer_id, client_id) or (
            customer_id is None and traces.mentioned(addresses(batch))
        )

    return is_his


def was_received_before(before: datetime) -> Callable[[Batch], bool]:
    def was_received(batch: Batch) -> bool:
        received_at = sender(batch).received_at
        return received_at is None or received_at < before

    return was_received
