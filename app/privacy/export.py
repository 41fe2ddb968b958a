"""What is kept of a shopper, piece by piece, for the operator to send."""

from collections.abc import Iterator
from typing import Any

from psycopg import Connection, sql
from psycopg.rows import dict_row

from app.privacy.search import Found
from app.store.walks import Progress, event_windows, partitions

PIECE_BYTES = 1024 * 1024  # of JSON text, or a single row that has more

_EVENTS = sql.SQL(
    "SELECT coalesce(e.event, event_name(e.kind)) AS event, e.occurred_at, b.received_at,"
    " coalesce(e.sent_timestamp, e.occurred_at) AS sent_timestamp,"
    " coalesce(e.insert_id, e.insert_key::text) AS insert_id,"
    " b.customer_id, b.client_id, b.session_id, b.pageview_id, b.product_id, b.variant_id,"
    " b.lib_version, b.current_url, b.device_class, b.browser, b.os,"
    " coalesce(e.properties, CASE WHEN e.kind >= 100"
    "  THEN jsonb_build_object('product_id', b.product_id) END, '{{}}') AS properties,"
    " coalesce(e.extra, '{{}}') AS extra, b.context"
    " {source} ORDER BY e.occurred_at, e.insert_key"
)
_KEYS = sql.SQL(
    "SELECT e.occurred_at::text, e.insert_key,"
    " octet_length(concat(e.properties::text, e.extra::text, b.context::text)) + 1000"
    " {source} ORDER BY e.occurred_at, e.insert_key"
)
_SOURCE = sql.SQL(
    # Of an event in another customer's batch, nothing of that customer.
    "FROM {partition} AS e LEFT JOIN batches AS b"
    " ON b.shop_id = e.shop_id AND b.id = e.batch_id AND b.id = ANY(%(ids)s::bigint[])"
    " WHERE {window} AND (e.batch_id = ANY(%(ids)s::bigint[])"
    " OR (e.occurred_at, e.insert_key) IN"
    " (SELECT * FROM unnest(%(times)s::timestamptz[], %(keys)s::uuid[])))"
)


def export(
    connection: Connection, shop_id: int, found: Found, progress: Progress
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The rows that `erase` would delete, by kind, of which all of the first comes first."""
    for rows in _events(connection, shop_id, found):
        yield "events", rows
        progress("events", len(rows))
    for rows in _rejected(connection, found.rejected_ids):
        yield "rejected_events", rows
        progress("rejected_events", len(rows))


def _events(connection: Connection, shop_id: int, found: Found) -> Iterator[list[dict[str, Any]]]:
    with connection.cursor(row_factory=dict_row) as cursor:
        for partition in partitions(connection):
            others = [key for key in found.events if key.partition == partition]
            values = {
                "ids": list(found.batch_ids),
                "times": [key.occurred_at for key in others],
                "keys": [key.insert_key for key in others],
            }
            for window, bounds in event_windows(connection, shop_id, partition):
                source = _SOURCE.format(partition=sql.Identifier(partition), window=window)
                sizes = connection.execute(_KEYS.format(source=source), {**values, **bounds})
                for to_at, to_key in _ends(sizes.fetchall()):
                    # A part of the window: after the part before, up to its own last key.
                    part = {**bounds, "to_at": to_at, "to_key": to_key}
                    yield cursor.execute(
                        _EVENTS.format(source=source), {**values, **part}
                    ).fetchall()
                    bounds = {**bounds, "after_at": to_at, "after_key": to_key}


def _rejected(connection: Connection, ids: list[int]) -> Iterator[list[dict[str, Any]]]:
    sizes = connection.execute(
        "SELECT id, octet_length(concat(payload, context::text, details::text)) + 1000"
        " FROM rejected_events WHERE id = ANY(%s) ORDER BY received_at, id",
        [ids],
    ).fetchall()
    order = [id_ for id_, _ in sizes]
    start = 0
    with connection.cursor(row_factory=dict_row) as cursor:
        for (last,) in _ends(sizes):
            end = order.index(last, start) + 1
            yield cursor.execute(
                "SELECT received_at, code, details, payload, context, customer_id"
                " FROM rejected_events WHERE id = ANY(%s) ORDER BY received_at, id",
                [order[start:end]],
            ).fetchall()
            start = end


def _ends(sizes: list[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """The last key of each piece, of keys with their bytes."""
    filled = 0
    for number, (*key, size) in enumerate(sizes, start=1):
        filled += size
        following = sizes[number][-1] if number < len(sizes) else PIECE_BYTES
        if filled + following > PIECE_BYTES:
            yield tuple(key)
            filled = 0
