"""Counting anew what has become wrong: events were deleted, or a shop's settings changed."""

from collections import Counter, defaultdict
from collections.abc import Callable
from itertools import groupby
from uuid import UUID

from psycopg import Connection

from app.counts import dimensions, journeys
from app.counts.cells import add_cells
from app.counts.counting import count_announced, is_ours, window_of
from app.counts.measures import Cells, Event, count, count_anonymous
from app.counts.stored import STORED, read_events
from app.counts.values import Values

_FLUSH = 100_000  # cells in memory while a whole shop is counted

Progress = Callable[[int], object]


def is_dirty(connection: Connection) -> bool:
    return connection.execute("SELECT 1 FROM report_dirty LIMIT 1").fetchone() is not None


def recount_dirty(connection: Connection, progress: Progress) -> bool:
    """Count all that is dirty anew; whether it was this process's turn.

    One snapshot for all of it: what is announced in it is counted first, and what is deleted
    meanwhile leaves the counts with a later mark.
    """
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        if not is_ours(connection):
            return False
        while count_announced(connection):
            pass
        rows = connection.execute("DELETE FROM report_dirty RETURNING shop_id, visitor").fetchall()
        whole = {shop_id for shop_id, visitor in rows if visitor is None}
        for shop_id in sorted(whole):
            _recount_shop(connection, shop_id, progress)
        visitors = defaultdict(set)
        for shop_id, visitor in rows:
            if shop_id not in whole:
                visitors[shop_id].add(visitor)
        for shop_id, its_visitors in visitors.items():
            _recount_visitors(connection, shop_id, sorted(its_visitors), progress)
    return True


def _recount_shop(connection: Connection, shop_id: int, progress: Progress) -> None:
    for table in ("report_cells", "report_journeys", "report_values"):
        connection.execute(f"DELETE FROM {table} WHERE shop_id = %s".encode(), [shop_id])
    window = window_of(connection, shop_id)
    values = Values(connection)
    cells: Cells = Counter()
    merged: dict[journeys.Visitor, journeys.Journey] = {}
    with connection.cursor(name="stored", binary=True) as cursor:
        cursor.itersize = 20_000
        cursor.execute(f"{STORED} ORDER BY 2".encode(), [shop_id])
        for visitor, rows in groupby(read_events(values, cursor), key=lambda row: row[1]):
            if visitor is None:
                for row in rows:
                    cells.update(count_anonymous([row[2]]))
                    progress(1)
                continue
            events = sorted(row[2] for row in rows)
            progress(len(events))
            merged[shop_id, visitor] = _kept(events)
            cells.update(_cells_of(events, window))
            if len(cells) + len(merged) > _FLUSH:
                _flush(connection, shop_id, cells, merged)
    _flush(connection, shop_id, cells, merged)
    # Of a shop that was erased nothing remains.
    connection.execute("UPDATE report_shops SET counted_at = now() WHERE shop_id = %s", [shop_id])


def _kept(events: list[Event]) -> journeys.Journey:
    return events if len(events) <= journeys.MOST_EVENTS else None


def _cells_of(events: list[Event], window: int) -> Cells:
    return count_anonymous(events) if _kept(events) is None else count(events, window)


def _flush(
    connection: Connection,
    shop_id: int,
    cells: Cells,
    merged: dict[journeys.Visitor, journeys.Journey],
) -> None:
    journeys.write(connection, merged)
    add_cells(connection, shop_id, cells)
    merged.clear()
    cells.clear()


def _recount_visitors(
    connection: Connection, shop_id: int, visitors: list[UUID], progress: Progress
) -> None:
    window = window_of(connection, shop_id)
    keys = [(shop_id, visitor) for visitor in visitors]
    cells: Cells = Counter()
    for counted in journeys.read(connection, keys).values():
        if counted is None:  # nobody knows any more what there was of a robot
            _recount_shop(connection, shop_id, progress)
            return
        cells.subtract(count(counted, window))
    journeys.delete(connection, shop_id, visitors)
    ids = connection.execute(
        "SELECT b.id FROM batches b WHERE b.shop_id = %s"
        f" AND {dimensions.VISITOR_KEY} = ANY(%s)".encode(),
        [shop_id, visitors],
    ).fetchall()
    remaining: dict[journeys.Visitor, list[Event]] = defaultdict(list)
    if ids:
        rows = connection.execute(
            f"{STORED} AND e.batch_id = ANY(%s::bigint[])".encode(),
            [shop_id, [row[0] for row in ids]],
        )
        for _, visitor, event in read_events(Values(connection), rows):
            remaining[shop_id, visitor].append(event)
    for events in remaining.values():
        events.sort()
        cells.update(_cells_of(events, window))
    journeys.write(connection, {visitor: _kept(events) for visitor, events in remaining.items()})
    add_cells(connection, shop_id, cells)
