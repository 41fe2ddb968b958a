"""Marked visitors and shops, counted anew from what is stored (step 5 of app.counts.rollups)."""

from collections import Counter
from collections.abc import Callable, Sequence

from psycopg import Connection

from app.counts import journeys
from app.counts.arrays import uuids
from app.counts.cells import add_cells
from app.counts.counting import count_announced
from app.counts.experiments import Experiments
from app.counts.measures import COUNTED
from app.counts.period import read_preferences
from app.counts.stored import collect
from app.counts.tally import EVER, Tally

_MOST_VISITORS = 500  # that are looked up one by one; with more, the whole shop is counted

_DAYS = """
    SELECT (occurred_at AT TIME ZONE %s)::date - date '1970-01-01' AS day, count(*)
    FROM events WHERE shop_id = %s GROUP BY day"""

Progress = Callable[[int], object]  # told how many more events are counted


def recount_marked(connection: Connection, shop_id: int, progress: Progress) -> None:
    """Take a shop's marks away and count anew what they mark.

    The caller's transaction holds the shop's lock and has one snapshot.
    """
    marks = connection.execute(
        "DELETE FROM report_marks WHERE shop_id = %s RETURNING visitor", [shop_id]
    ).fetchall()
    outdated = connection.execute(
        "DELETE FROM report_recounts WHERE shop_id = %s AND definition <= %s RETURNING NULL",
        [shop_id, COUNTED],
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
    preferences = read_preferences(connection, [shop_id])[shop_id]
    tally = Tally()
    rest = 0  # robots' events, and nobody's
    for day, number in connection.execute(_DAYS.encode(), [preferences.time_zone, shop_id]):
        if day >= since:
            tally.add_events(shop_id, {day: number})
        rest += number
    for journey in collect(connection, shop_id, preferences.time_zone, None):
        tally.add(shop_id, journey, preferences.window, since=since)
        progress(len(journey) // journeys.SIZE)
        rest -= len(journey) // journeys.SIZE
        if tally.is_large():
            add_cells(connection, tally.cells())
    progress(rest)
    add_cells(connection, tally.cells())
    Experiments(connection, [shop_id]).recount()


def _first_counted(connection: Connection, shop_id: int) -> int:
    """The day before which the numbers stay: their events are deleted by retention."""
    row = connection.execute(
        "SELECT before FROM report_kept WHERE shop_id = %s", [shop_id]
    ).fetchone()
    return row[0] if row else EVER


def _recount_visitors(connection: Connection, shop_id: int, visitors: Sequence[str]) -> bool:
    """False, and nothing done, where a robot is among them: what of it was counted is not known."""
    preferences = read_preferences(connection, [shop_id])[shop_id]
    tally = Tally()
    wanted = [(shop_id, visitor) for visitor in visitors]
    for known in journeys.read(connection, wanted):
        for _, old in known:
            if old is None:
                return False
            tally.add_events(shop_id, _days_of(old), by=-1)
            tally.add(shop_id, old, preferences.window, by=-1)
    journeys.delete(connection, shop_id, visitors)
    for journey in collect(connection, shop_id, preferences.time_zone, visitors):
        tally.add_events(shop_id, _days_of(journey))
        tally.add(shop_id, journey, preferences.window)
    experiments = Experiments(connection, [shop_id])
    if experiments.has_any(shop_id):
        for known in journeys.read(connection, wanted):
            experiments.count(dict(known))
    connection.execute(
        "DELETE FROM report_journeys WHERE shop_id = %s AND visitor = ANY(%s::uuid[])",
        [shop_id, uuids(visitors)],
    )
    add_cells(connection, tally.cells())
    return True


def _days_of(journey: bytes) -> Counter[int]:
    """How many events on each day."""
    return Counter(event.day for event in journeys.unpack(journey))
