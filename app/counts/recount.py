"""Marked visitors and shops, counted anew from what is stored (step 5 of app.counts.rollups)."""

from collections.abc import Callable, Sequence
from itertools import groupby, islice

from psycopg import Connection

from app.counts import dimensions, journeys
from app.counts.arrays import uuids
from app.counts.cells import add_cells
from app.counts.counting import count_announced
from app.counts.experiments import Experiments
from app.counts.journeys import Journey, Visitor
from app.counts.measures import Event
from app.counts.period import read_preferences
from app.counts.stored import STORED, Numbering, read_events
from app.counts.tally import EVER, Tally

_AT_ONCE = 20_000  # events
_MOST_EVENTS = 200_000  # kept in memory while a whole shop is counted
_MOST_VISITORS = 500  # that are looked up one by one; with more, the whole shop is counted

Progress = Callable[[int], object]  # told how many more events are counted


def recount_marked(connection: Connection, shop_id: int, progress: Progress) -> None:
    """Take a shop's marks away and count anew what they mark.

    The caller's transaction holds the shop's lock and has one snapshot.
    """
    marks = connection.execute(
        "DELETE FROM report_marks WHERE shop_id = %s RETURNING visitor", [shop_id]
    ).fetchall()
    outdated = connection.execute(
        "DELETE FROM report_outdated WHERE shop_id = %s RETURNING NULL", [shop_id]
    ).fetchall()
    visitors = {visitor and visitor.hex for (visitor,) in [*marks, *outdated]}
    if None not in visitors and len(visitors) <= _MOST_VISITORS:
        while count_announced(connection, [shop_id]):
            pass
        if _recount_visitors(connection, shop_id, sorted(filter(None, visitors))):
            return
    _recount_shop(connection, shop_id, progress)


def _recount_shop(connection: Connection, shop_id: int, progress: Progress) -> None:
    since = _first_counted(connection, shop_id)
    # The last two are of the form before; nobody else deletes what is in them.
    for table in ("report_news", "report_visitors", "report_cells", "report_journeys"):
        connection.execute(f"DELETE FROM {table} WHERE shop_id = %s".encode(), [shop_id])
    connection.execute(
        "DELETE FROM report_counts WHERE shop_id = %s AND day >= %s", [shop_id, since]
    )
    connection.execute(
        "DELETE FROM report_values WHERE shop_id = %(id)s"
        " AND NOT EXISTS (SELECT FROM report_counts WHERE shop_id = %(id)s)",
        {"id": shop_id},
    )
    connection.execute("SET LOCAL work_mem = '64MB'")  # to sort all of a shop's events
    window = read_preferences(connection, [shop_id])[shop_id].window
    tally = Tally()
    merged: dict[Visitor, Journey] = {}
    in_memory = 0
    with connection.cursor(name="stored", binary=True) as cursor:
        cursor.execute(f"{STORED} ORDER BY 1".encode(), [shop_id])
        rows = read_events(Numbering(connection), shop_id, cursor)
        for visitor, of_visitor in groupby(rows, key=lambda row: row[0]):
            # A robot's events, or nobody's, may be too many to hold.
            events = [event for _, event in islice(of_visitor, journeys.MOST_EVENTS + 1)]
            tally.add_events(shop_id, (event.day for event in events if event.day >= since))
            if visitor is not None:
                events.sort()
                merged[shop_id, visitor] = journeys.kept(events)
                tally.add(shop_id, merged[shop_id, visitor] or (), window, since=since)
            progress(len(events))
            while more := [event for _, event in islice(of_visitor, _AT_ONCE)]:
                tally.add_events(shop_id, (event.day for event in more if event.day >= since))
                progress(len(more))
            in_memory += len(events)
            if in_memory > _MOST_EVENTS or tally.is_large():
                _flush(connection, tally, merged)
                in_memory = 0
    _flush(connection, tally, merged)
    Experiments(connection, [shop_id]).recount()


def _first_counted(connection: Connection, shop_id: int) -> int:
    """The day before which the numbers stay: their events are deleted by retention."""
    row = connection.execute(
        "SELECT before FROM report_kept WHERE shop_id = %s", [shop_id]
    ).fetchone()
    return row[0] if row else EVER


def _flush(connection: Connection, tally: Tally, merged: dict[Visitor, Journey]) -> None:
    journeys.write(connection, merged, known=())
    add_cells(connection, tally.cells())
    merged.clear()


def _recount_visitors(connection: Connection, shop_id: int, visitors: Sequence[str]) -> bool:
    """False, and nothing done, where a robot is among them: what of it was counted is not known."""
    window = read_preferences(connection, [shop_id])[shop_id].window
    tally = Tally()
    for known in journeys.read(connection, [(shop_id, visitor) for visitor in visitors]):
        for _, old in known:
            if old is None:
                return False
            tally.take_events(shop_id, (event.day for event in old))
            tally.add(shop_id, old, window, by=-1)
    journeys.delete(connection, shop_id, visitors)
    remaining = _read_remaining(connection, shop_id, visitors)
    for events in remaining.values():
        tally.add_events(shop_id, (event.day for event in events))
        tally.add(shop_id, journeys.kept(events) or (), window)
    kept = {visitor: journeys.kept(events) for visitor, events in remaining.items()}
    journeys.write(connection, kept, known=())
    gone = {(shop_id, visitor): () for visitor in visitors}
    Experiments(connection, [shop_id]).count({**gone, **kept})
    connection.execute(
        "DELETE FROM report_journeys WHERE shop_id = %s AND visitor = ANY(%s::uuid[])",
        [shop_id, uuids(visitors)],
    )
    add_cells(connection, tally.cells())
    return True


def _read_remaining(
    connection: Connection, shop_id: int, visitors: Sequence[str]
) -> dict[Visitor, list[Event]]:
    """What is still stored of the visitors, in the order of time."""
    batch_ids = [
        batch_id
        for (batch_id,) in connection.execute(
            "SELECT b.id FROM batches b WHERE b.shop_id = %s"
            f" AND {dimensions.VISITOR_KEY} = ANY(%s::uuid[])".encode(),
            [shop_id, uuids(visitors)],
        )
    ]
    if not batch_ids:
        return {}
    remaining: dict[Visitor, list[Event]] = {}
    rows = connection.execute(
        f"{STORED} AND e.batch_id = ANY(%s::bigint[])".encode(), [shop_id, batch_ids]
    )
    for visitor, event in read_events(Numbering(connection), shop_id, rows):
        if visitor is not None:
            remaining.setdefault((shop_id, visitor), []).append(event)
    for events in remaining.values():
        events.sort()
    return remaining
