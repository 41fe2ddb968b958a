"""Keeps the reports' counts equal to what is stored, a few thousand events at a time.

Each stored batch is announced in the transaction that stores it (`unreported_batches`), and its
announcement is taken away in the transaction that counts it: so each is counted exactly once,
whatever the order of commits, and a crash at any point changes nothing.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from itertools import groupby
from typing import Any
from uuid import UUID

from psycopg import Connection

from app.merchant import dimensions, journeys
from app.merchant.cells import add_cells
from app.merchant.measures import KINDS, Cells, Event, count, count_anonymous
from app.merchant.values import Values

logger = logging.getLogger(__name__)

BATCHES = 3_000  # to one transaction, and up to as many as the last announcement has
_LOCK = 0x7265706F7274  # "report": one process at a time counts
MOST_EVENTS = 50_000  # of a visitor; who does more is a robot, and counts no further as a visitor
_FLUSH = 100_000  # cells in memory while a whole shop is counted

Progress = Callable[[int], object]

# What is read of a batch, and of an event in it; in the order in which `_events` takes them.
_PARENT = f"""
    {dimensions.VISITOR_KEY} AS visitor, b.product_id, {dimensions.VERSION} AS version,
    {dimensions.DEVICE} AS device, {dimensions.LANGUAGE} AS language"""
_EVENT = f"""
    e.shop_id, b.visitor, (extract(epoch FROM e.occurred_at) * 1000000)::bigint, e.event,
    (e.occurred_at AT TIME ZONE coalesce(r.time_zone, 'UTC'))::date - date '1970-01-01',
    {dimensions.PRODUCT}, b.version, b.device, b.language"""

# OFFSET 0: each by its key, whatever the planner makes of the rest.
_TAKE = f"""
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
        SELECT shop_id, batch_id, parent.* FROM fresh CROSS JOIN LATERAL (
            SELECT {_PARENT} FROM batches b
            WHERE b.shop_id = fresh.shop_id AND b.id = fresh.batch_id OFFSET 0
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

_STORED = f"""
    SELECT {_EVENT}
    FROM events e
    JOIN (SELECT b.shop_id, b.id, {_PARENT} FROM batches b) AS b
        ON b.shop_id = e.shop_id AND b.id = e.batch_id
    LEFT JOIN report_shops r ON r.shop_id = e.shop_id
    WHERE e.shop_id = %s"""


def count_new(connection: Connection, *, progress: Progress = lambda _: None) -> int:
    """Count some of what is new, or all that is dirty; returns how much, 0 where nothing waits.

    psycopg.Error: nothing has changed, call again.
    """
    with connection.transaction():
        if not _is_ours(connection):
            return 0
        taken = _count_taken(connection, BATCHES)
        if taken:
            return taken
    return _recount_dirty(connection, progress)


def mark_dirty(connection: Connection, shop_id: int, visitors: Iterable[str] | None = None) -> None:
    """Have events that were deleted leave the counts; call it in the transaction that deletes.

    `visitors` are their genlook_client_ids, or session ids where those are missing; None has the
    whole shop counted anew, which for millions of events takes minutes.
    """
    if visitors is None:
        connection.execute("INSERT INTO report_dirty (shop_id) VALUES (%s)", [shop_id])
    else:
        connection.execute(
            "INSERT INTO report_dirty (shop_id, visitor)"
            " SELECT %s, md5(visitor)::uuid FROM unnest(%s::text[]) AS visitor",
            [shop_id, list(visitors)],
        )


def forget_before(connection: Connection, moment: datetime) -> int:
    """Drop what is kept of single visitors' events before `moment`; returns how many visitors it
    was kept of. For when the events themselves are gone: the days' totals hold nothing of a
    visitor, and stay, until a rebuild counts what is still stored.
    """
    oldest = int(moment.timestamp() * 1_000_000)
    forgotten = 0
    with connection.transaction():
        _is_ours(connection, wait=True)
        with connection.cursor(name="journeys", binary=True) as cursor:
            cursor.itersize = 20_000
            cursor.execute("SELECT shop_id, visitor, events FROM report_journeys")
            while rows := cursor.fetchmany(20_000):
                kept = {}
                for shop_id, visitor, packed in rows:
                    events = journeys.unpack(packed)
                    if events[0].at < oldest:
                        kept[shop_id, visitor] = [event for event in events if event.at >= oldest]
                journeys.write(connection, kept)
                forgotten += len(kept)
    return forgotten


def rebuild(connection: Connection, shop_id: int, progress: Progress = lambda _: None) -> None:
    """Count a shop anew from what is stored; readers see the old numbers until it is done."""
    mark_dirty(connection, shop_id)
    _recount_dirty(connection, progress, wait=True)


def _is_ours(connection: Connection, *, wait: bool = False) -> bool:
    if wait:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        return True
    row = connection.execute("SELECT pg_try_advisory_xact_lock(%s)", [_LOCK]).fetchone()
    return bool(row and row[0])


def _count_taken(connection: Connection, limit: int | None) -> int:
    """Count what was announced; returns the number of announcements that were taken away."""
    before = _waiting(connection)
    if not before:
        return 0
    values = Values(connection)
    cells: dict[int, Cells] = defaultdict(Counter)
    new: dict[journeys.Visitor, list[Event]] = defaultdict(list)
    for shop_id, visitor, event in _events(values, connection.execute(_TAKE, {"limit": limit})):
        if visitor is None:
            cells[shop_id].update(count_anonymous([event]))
        else:
            new[shop_id, visitor].append(event)
    windows = _windows(connection)
    known = journeys.read(connection, new.keys())
    merged = {}
    for key, events in new.items():
        old = known.get(key, [])
        if len(old) + len(events) > MOST_EVENTS:
            cells[key[0]].update(count_anonymous(events))
            continue
        merged[key] = sorted(old + events)
        window = windows.get(key[0], _DEFAULT_WINDOW)
        cells[key[0]].update(count(merged[key], window))
        cells[key[0]].subtract(count(old, window))
    journeys.write(connection, merged)
    for shop_id, its_cells in cells.items():
        add_cells(connection, shop_id, its_cells)
    connection.execute(
        "INSERT INTO report_shops (shop_id, counted_at) SELECT unnest(%s::integer[]), now()"
        " ON CONFLICT (shop_id) DO UPDATE SET counted_at = excluded.counted_at",
        [sorted(cells)],
    )
    return before - _waiting(connection)


_DEFAULT_WINDOW = 24 * 60 * 60 * 1_000_000  # µs


def _waiting(connection: Connection) -> int:
    row = connection.execute("SELECT count(*) FROM unreported_batches").fetchone()
    return int(row[0]) if row else 0


def _windows(connection: Connection) -> dict[int, int]:
    rows = connection.execute("SELECT shop_id, window_hours FROM report_shops")
    return {shop_id: hours * 60 * 60 * 1_000_000 for shop_id, hours in rows}


def _recount_dirty(connection: Connection, progress: Progress, *, wait: bool = False) -> int:
    """One snapshot for all of it: what is announced in it is counted, what is stored in it and was
    deleted since leaves the counts with the next mark."""
    if not wait and not connection.execute("SELECT 1 FROM report_dirty LIMIT 1").fetchone():
        return 0
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        if not _is_ours(connection, wait=wait):
            return 0
        _count_taken(connection, None)
        rows = connection.execute("DELETE FROM report_dirty RETURNING shop_id, visitor").fetchall()
        whole = {shop_id for shop_id, visitor in rows if visitor is None}
        for shop_id in sorted(whole):
            _recount_shop(connection, shop_id, progress)
        visitors = defaultdict(set)
        for shop_id, visitor in rows:
            if shop_id not in whole:
                visitors[shop_id].add(visitor)
        for shop_id, its_visitors in visitors.items():
            _recount_visitors(connection, shop_id, sorted(its_visitors))
    return len(rows)


def _recount_shop(connection: Connection, shop_id: int, progress: Progress) -> None:
    for table in ("report_cells", "report_journeys", "report_values"):
        connection.execute(_as_query(f"DELETE FROM {table} WHERE shop_id = %s"), [shop_id])
    window = _windows(connection).get(shop_id, _DEFAULT_WINDOW)
    values = Values(connection)
    cells: Cells = Counter()
    merged: dict[journeys.Visitor, list[Event]] = {}
    with connection.cursor(name="stored", binary=True) as cursor:
        cursor.itersize = 20_000
        cursor.execute(_as_query(f"{_STORED} ORDER BY 2"), [shop_id])
        for visitor, rows in groupby(_events(values, cursor), key=lambda row: row[1]):
            if visitor is None:
                for row in rows:
                    cells.update(count_anonymous([row[2]]))
                    progress(1)
                continue
            events = sorted(row[2] for row in rows)
            progress(len(events))
            if len(events) > MOST_EVENTS:
                cells.update(count_anonymous(events))
                continue
            merged[shop_id, visitor] = events
            cells.update(count(events, window))
            if len(cells) + len(merged) > _FLUSH:
                _flush(connection, shop_id, cells, merged)
    _flush(connection, shop_id, cells, merged)
    connection.execute(  # of a shop that was erased nothing remains
        "INSERT INTO report_shops (shop_id, counted_at) SELECT id, now() FROM shops WHERE id = %s"
        " ON CONFLICT (shop_id) DO UPDATE SET counted_at = excluded.counted_at",
        [shop_id],
    )


def _flush(
    connection: Connection, shop_id: int, cells: Cells, merged: dict[journeys.Visitor, list[Event]]
) -> None:
    journeys.write(connection, merged)
    add_cells(connection, shop_id, cells)
    merged.clear()
    cells.clear()


def _recount_visitors(connection: Connection, shop_id: int, visitors: list[UUID]) -> None:
    window = _windows(connection).get(shop_id, _DEFAULT_WINDOW)
    keys = [(shop_id, visitor) for visitor in visitors]
    cells: Cells = Counter()
    for events in journeys.read(connection, keys).values():
        cells.subtract(count(events, window))
    journeys.delete(connection, shop_id, visitors)
    ids = connection.execute(
        _as_query(
            "SELECT b.id FROM batches b WHERE b.shop_id = %s"
            f" AND {dimensions.VISITOR_KEY} = ANY(%s)"
        ),
        [shop_id, visitors],
    ).fetchall()
    remaining: dict[journeys.Visitor, list[Event]] = defaultdict(list)
    if ids:
        rows = connection.execute(
            _as_query(f"{_STORED} AND e.batch_id = ANY(%s)"), [shop_id, [row[0] for row in ids]]
        )
        for _, visitor, event in _events(Values(connection), rows):
            remaining[shop_id, visitor].append(event)
    for events in remaining.values():
        events.sort()
        cells.update(count(events, window))
    journeys.write(connection, remaining)
    add_cells(connection, shop_id, cells)


def _events(
    values: Values, rows: Iterable[tuple[Any, ...]]
) -> Iterator[tuple[int, UUID | None, Event]]:
    for shop_id, visitor, at, name, day, *texts in rows:
        kind = KINDS.get(name)
        if kind is None:
            kind = values.of_event(shop_id, name)
        yield shop_id, visitor, Event(at, kind, day, *values.of(shop_id, *texts))


def _as_query(statement: str) -> bytes:
    return statement.encode()
