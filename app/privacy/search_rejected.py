"""Finding in rejected_events what is of a shopper: kept as it was sent, it has to be read."""

from datetime import datetime
from itertools import chain
from typing import Any

from psycopg import Connection

from app.batch.addresses import in_text, in_value
from app.privacy.senders import Sender, clients_of_rejected, sender_of_line
from app.privacy.subject import Fingerprints
from app.store.rejected import UNREADABLE, UNSTORABLE
from app.store.walks import Progress

_ROWS_AT_ONCE = 200  # of up to 256 KiB each


def find(
    connection: Connection,
    shop: str,
    fingerprints: Fingerprints,
    before: datetime,
    *,
    after: int,
    progress: Progress,
) -> list[int]:
    """The ids of rejected events that are of the shopper or hold their address."""
    ids = [
        row[0]
        for row in connection.execute(
            "SELECT id FROM rejected_events WHERE shop_domain = %s AND id > %s", [shop, after]
        )
    ]
    found = []
    for start in range(0, len(ids), _ROWS_AT_ONCE):
        rows = connection.execute(
            "SELECT id, code, customer_id, context, payload FROM rejected_events"
            " WHERE id = ANY(%s) AND (received_at < %s OR code = ANY(%s))",
            [ids[start : start + _ROWS_AT_ONCE], before, [UNREADABLE, UNSTORABLE]],
        ).fetchall()
        for id_, code, customer_id, context, payload in rows:
            known = _rejected_sender(code, customer_id, context, payload)
            if fingerprints.owns(known.customer_id, *known.client_ids) or fingerprints.mentions(
                chain(in_text(payload), in_value(context))
            ):
                found.append(id_)
        progress("rejected_events", len(rows))
    return found


def browsers(connection: Connection, shop: str, customer_id: str, before: datetime) -> set[str]:
    """The client ids that came with a customer in what was rejected."""
    rows = connection.execute(
        "SELECT context, payload FROM rejected_events"
        " WHERE shop_domain = %s AND customer_id = %s AND received_at < %s",
        [shop, customer_id, before],
    )
    return {client for context, payload in rows for client in clients_of_rejected(context, payload)}


def _rejected_sender(code: str, customer_id: str | None, context: Any, payload: str) -> Sender:
    if code in (UNSTORABLE, UNREADABLE):
        for line in payload.encode().splitlines():
            try:
                return sender_of_line(line.removeprefix(b"batch "))
            except (ValueError, IndexError):
                continue
    return Sender(None, customer_id, clients_of_rejected(context, payload))
