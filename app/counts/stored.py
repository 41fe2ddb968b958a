"""Stored events, as they are read to be counted."""

from collections.abc import Iterable, Iterator
from typing import Any
from uuid import UUID

from app.counts import dimensions
from app.counts.measures import KINDS, Event
from app.counts.values import Values

# What is read of a batch, and of an event in it; in the order in which `read_events` takes them.
_PARENT = f"""
    {dimensions.VISITOR_KEY} AS visitor, b.product_id, {dimensions.VERSION} AS version,
    {dimensions.DEVICE} AS device, {dimensions.LANGUAGE} AS language"""
_EVENT = f"""
    e.shop_id, b.visitor, (extract(epoch FROM e.occurred_at) * 1000000)::bigint, e.event,
    (e.occurred_at AT TIME ZONE coalesce(r.time_zone, 'UTC'))::date - date '1970-01-01',
    {dimensions.PRODUCT}, b.version, b.device, b.language"""

# Takes announcements of up to so many batches and the rest of the last one, or all where %(limit)s
# is null. OFFSET 0: each row by its key, whatever the planner makes of the rest.
TAKE = f"""
    WITH taken AS (
        DELETE FROM unreported_batches
        WHERE id IN (
            SELECT id FROM (
                SELECT id, sum(cardinality(batch_ids)) OVER (ORDER BY id) AS total, batch_ids
                FROM (
                    SELECT * FROM unreported_batches ORDER BY id LIMIT %(limit)s::integer
                ) AS oldest
            ) AS summed
            WHERE %(limit)s::integer IS NULL OR total - cardinality(batch_ids) < %(limit)s::integer
        )
        RETURNING batch_ids, shop_ids, first_at, last_at
    ), fresh AS MATERIALIZED (
        SELECT unnest(shop_ids) AS shop_id, unnest(batch_ids) AS batch_id,
            unnest(first_at) AS first_at, unnest(last_at) AS last_at
        FROM taken
    ), parents AS MATERIALIZED (
        SELECT child.*, parent.* FROM (SELECT DISTINCT shop_id, batch_id FROM fresh) AS child
        CROSS JOIN LATERAL (
            SELECT {_PARENT} FROM batches b
            WHERE b.shop_id = child.shop_id AND b.id = child.batch_id OFFSET 0
        ) AS parent
    ), spans AS MATERIALIZED (
        SELECT shop_id, unnest(range_agg(tstzrange(first_at, last_at, '[]'))) AS span
        FROM fresh GROUP BY shop_id
    ), found AS MATERIALIZED (
        SELECT events.* FROM spans CROSS JOIN LATERAL (
            SELECT shop_id, batch_id, occurred_at, event, properties FROM events
            WHERE events.shop_id = spans.shop_id
            AND events.occurred_at BETWEEN lower(spans.span) AND upper(spans.span) OFFSET 0
        ) AS events
    )
    SELECT {_EVENT}
    FROM found e
    JOIN parents b ON b.shop_id = e.shop_id AND b.batch_id = e.batch_id
    LEFT JOIN report_shops r ON r.shop_id = e.shop_id"""

STORED = f"""
    SELECT {_EVENT}
    FROM events e
    JOIN (SELECT b.shop_id, b.id, {_PARENT} FROM batches b) AS b
        ON b.shop_id = e.shop_id AND b.id = e.batch_id
    LEFT JOIN report_shops r ON r.shop_id = e.shop_id
    WHERE e.shop_id = %s"""


def read_events(
    values: Values, rows: Iterable[tuple[Any, ...]]
) -> Iterator[tuple[int, UUID | None, Event]]:
    """Shop, visitor (None where no id was sent), event."""
    for shop_id, visitor, at, name, day, *texts in rows:
        kind = KINDS.get(name)
        if kind is None:
            kind = values.of_event(shop_id, name)
        yield shop_id, visitor, Event(at, kind, day, *values.of(shop_id, *texts))
