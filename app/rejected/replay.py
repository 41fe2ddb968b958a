"""Trying again what was rejected, with today's rules."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from psycopg import Connection
from psycopg.rows import dict_row

from app.batch.batch import Batch, UnreadableEntry
from app.batch.form import NewerEntry
from app.batch.json import dump_json
from app.store.rejected import UNREADABLE, UNSTORABLE
from app.store.writer import Writer
from app.tracking.validation import Validated, validate


@dataclass(frozen=True)
class Rejection:
    """A row of rejected_events; `index` is None where the payload is a whole body."""

    id: int
    shop: str
    received_at: datetime
    code: str
    details: list[dict[str, str]]
    payload: str
    context: Any
    customer_id: str | None
    index: int | None


def find(
    connection: Connection,
    *,
    id_: int | None = None,
    shop: str | None = None,
    code: str | None = None,
    limit: int | None = None,
) -> list[Rejection]:
    """The newest first."""
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(
            "SELECT id, shop_domain AS shop, received_at, code, details, payload, context,"
            " customer_id, event_index AS index FROM rejected_events"
            " WHERE (%(id)s::bigint IS NULL OR id = %(id)s)"
            " AND (%(shop)s::text IS NULL OR shop_domain = %(shop)s)"
            " AND (%(code)s::text IS NULL OR code = %(code)s)"
            " ORDER BY received_at DESC, id DESC LIMIT %(limit)s",
            {"id": id_, "shop": shop, "code": code, "limit": limit},
        ).fetchall()
    return [Rejection(**row) for row in rows]


def replay(
    connection: Connection, writer: Writer, rejections: list[Rejection]
) -> Iterator[tuple[Rejection, str | None]]:
    """Store what is valid today and take it out of rejected_events, both or neither; yields each
    with the reason why it stays, None where it is stored. Safe to repeat."""
    for rejection in rejections:
        batch, reason = _as_batch(rejection)
        if batch is not None:
            with connection.transaction():
                writer.write(connection, [batch])
                connection.execute("DELETE FROM rejected_events WHERE id = %s", [rejection.id])
        yield rejection, reason


def _as_batch(rejection: Rejection) -> tuple[Batch | None, str | None]:
    if rejection.code == UNREADABLE:
        return None, "the entry of the journal cannot be read"
    if rejection.code == UNSTORABLE:
        return _as_rendered(rejection)
    body = rejection.payload.encode()
    if rejection.index is not None:
        body = b'{"events":[%b],"context":%b}' % (body, dump_json(rejection.context))
    validated = validate(body, "")
    if validated.rejected:
        return None, _reason(validated)
    batch = Batch.build(
        shop=rejection.shop,
        customer_id=rejection.customer_id,
        received_at=rejection.received_at,
        context=validated.context,
        events=validated.events,
        rejected=[],
    )
    return batch, None


def _reason(validated: Validated) -> str:
    details = [detail for rejected in validated.rejected for detail in rejected.details]
    if not details and validated.refusal:
        return validated.refusal.message
    return "; ".join(f"{detail['path']} {detail['message']}".strip() for detail in details)


def _as_rendered(rejection: Rejection) -> tuple[Batch | None, str | None]:
    """What Postgres refused is kept as the lines that it refused."""
    line, _, events = rejection.payload.encode().partition(b"\n")
    entry = Batch(rejection.shop, line).to_entry() | {b"events": events}
    try:
        batch = Batch.from_entry(entry)
    except (UnreadableEntry, NewerEntry) as error:
        return None, str(error)
    return (batch, None) if batch.events else (None, "there is no event in it")


def as_json(rejection: Rejection) -> str:
    return dump_json(asdict(rejection), indented=True).decode()
