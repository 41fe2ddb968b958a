"""What is kept of a shopper, as JSON for the operator to send."""

from typing import Any

from psycopg import Connection, sql
from psycopg.rows import dict_row

from app.privacy.search import Found
from app.store.walks import event_windows, partitions

_EVENTS = sql.SQL(
    "SELECT e.event, e.occurred_at, b.received_at,"
    " coalesce(e.sent_timestamp, e.occurred_at) AS sent_timestamp,"
    " coalesce(e.insert_id, e.insert_key::text) AS insert_id,"
    " b.customer_id, b.client_id, b.session_id, b.pageview_id, b.product_id, b.variant_id,"
    " b.lib_version, b.current_url, b.device_class, b.browser, b.os,"
    " coalesce(e.properties, '{{}}') AS properties, coalesce(e.extra, '{{}}') AS extra, b.context"
    # Of an event in another customer's batch, nothing of that customer.
    " FROM {partition} AS e LEFT JOIN batches AS b"
    " ON b.shop_id = e.shop_id AND b.id = e.batch_id AND b.id = ANY(%(ids)s::bigint[])"
    " WHERE {window} AND {condition} ORDER BY e.occurred_at"
)


def export(connection: Connection, shop_id: int, found: Found) -> dict[str, list[dict[str, Any]]]:
    """The rows that `erase` would delete."""
    events: list[dict[str, Any]] = []
    with connection.cursor(row_factory=dict_row) as cursor:
        for partition in partitions(connection):
            keys = [key for key in found.events if key.partition == partition]
            condition = sql.SQL(
                "(e.batch_id = ANY(%(ids)s::bigint[]) OR (e.occurred_at, e.insert_key) IN"
                " (SELECT * FROM unnest(%(times)s::timestamptz[], %(keys)s::uuid[])))"
            )
            for window, bounds in event_windows(connection, shop_id, partition):
                statement = _EVENTS.format(
                    partition=sql.Identifier(partition), window=window, condition=condition
                )
                values = {
                    **bounds,
                    "ids": list(found.batch_ids),
                    "times": [key.occurred_at for key in keys],
                    "keys": [key.insert_key for key in keys],
                }
                events += cursor.execute(statement, values).fetchall()
        rejected = cursor.execute(
            "SELECT received_at, code, details, payload, context, customer_id"
            " FROM rejected_events WHERE id = ANY(%s) ORDER BY received_at",
            [found.rejected_ids],
        ).fetchall()
    return {"events": events, "rejected_events": rejected}
