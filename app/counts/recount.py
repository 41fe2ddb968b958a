"""Dirty visitors and shops, counted anew from what is stored (step 5 of app.counts.rollups)."""

from collections import Counter, defaultdict
from collections.abc import Callable
from itertools import groupby, islice
from uuid import UUID

from psycopg import Connection

from app.counts import dimensions, journeys
from app.counts.cells import add_cells
from app.counts.counting import count_journey
from app.counts.measures import Cells, Event
from app.counts.period import read_window
from app.counts.stored import STORED, read_events
from app.counts.values import Values
from app.counts.visitor import count, count_anonymous

_AT_ONCE = 20_000  # events
_FLUSH = 100_000  # cells and visitors in memory while a whole shop is counted

Progress = Callable[[int], object]  # told how many more events are counted


def recount_marked(connection: Connection, progress: Progress) -> None:
    """Take all marks away and count anew what they mark.

    The caller's transaction holds the lock and has one snapshot, in which nothing is announced.
    """
    marks = connection.execute("DELETE FROM report_dirty RETURNING shop_id, visitor").fetchall()
    whole = {shop_id for shop_id, visitor in marks if visitor is None}
    for shop_id in sorted(whole):
        _recount_shop(connection, shop_id, progress)
    dirty = defaultdict(set)
    for shop_id, visitor in marks:
        if shop_id not in whole:
            dirty[shop_id].add(visitor)
    for shop_id, visitors in dirty.items():
        if not _recount_visitors(connection, shop_id, sorted(visitors)):
            _recount_shop(connection, shop_id, progress)


def _recount_shop(connection: Connection, shop_id: int, progress: Progress) -> None:
    for table in ("report_cells", "report_journeys", "report_values"):
        connection.execute(f"DELETE FROM {table} WHERE shop_id = %s".encode(), [shop_id])
    window = read_window(connection, shop_id)
    cells: Cells = Counter()
    merged: dict[journeys.Visitor, journeys.Journey] = {}
    with connection.cursor(name="stored", binary=True) as cursor:
        cursor.itersize = _AT_ONCE
        cursor.execute(f"{STORED} ORDER BY 2".encode(), [shop_id])
        rows = read_events(Values(connection), cursor)
        for visitor, of_visitor in groupby(rows, key=lambda row: row[1]):
            if visitor is None:
                while events := [event for _, _, event in islice(of_visitor, _AT_ONCE)]:
                    cells.update(count_anonymous(events))
                    progress(len(events))
                continue
            events = sorted(event for _, _, event in of_visitor)
            merged[shop_id, visitor] = journeys.kept(events)
            cells.update(count_journey(events, window))
            progress(len(events))
            if len(cells) + len(merged) > _FLUSH:
                _flush(connection, shop_id, cells, merged)
    _flush(connection, shop_id, cells, merged)


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


def _recount_visitors(connection: Connection, shop_id: int, visitors: list[UUID]) -> bool:
    """False, and nothing done, where a robot is among them: what of it was counted is not known."""
    window = read_window(connection, shop_id)
    cells: Cells = Counter()
    known = journeys.read(connection, [(shop_id, visitor) for visitor in visitors])
    for journey in known.values():
        if journey is None:
            return False
        cells.subtract(count(journey, window))
    journeys.delete(connection, shop_id, visitors)
    remaining = _read_remaining(connection, shop_id, visitors)
    for events in remaining.values():
        cells.update(count_journey(events, window))
    journeys.write(
        connection,
        {visitor: journeys.kept(events) for visitor, events in remaining.items()},
    )
    add_cells(connection, shop_id, cells)
    return True


def _read_remaining(
    connection: Connection, shop_id: int, visitors: list[UUID]
) -> dict[journeys.Visitor, list[Event]]:
    """What is still stored of the visitors, in the order of time."""
    batch_ids = [
        batch_id
        for (batch_id,) in connection.execute(
            "SELECT b.id FROM batches b WHERE b.shop_id = %s"
            f" AND {dimensions.VISITOR_KEY} = ANY(%s)".encode(),
            [shop_id, visitors],
        )
    ]
    if not batch_ids:
        return {}
    remaining: dict[journeys.Visitor, list[Event]] = defaultdict(list)
    rows = connection.execute(
        f"{STORED} AND e.batch_id = ANY(%s::bigint[])".encode(), [shop_id, batch_ids]
    )
    for _, visitor, event in read_events(Values(connection), rows):
        remaining[shop_id, visitor].append(event)
    for events in remaining.values():
        events.sort()
    return remaining
