"""New events into the counts (step 4 of app.counts.rollups)."""

from collections import Counter, defaultdict

from psycopg import Connection

from app.counts import journeys
from app.counts.cells import add_cells
from app.counts.measures import Cells, Event
from app.counts.period import read_window
from app.counts.stored import TAKE, read_events
from app.counts.values import Values
from app.counts.visitor import count, count_anonymous

BATCHES = 3_000  # at once, and up to as many as the last announcement has

_NewEvents = dict[journeys.Visitor, list[Event]]


def count_announced(connection: Connection) -> bool:
    """Take some announcements away and count what they announce; whether there was any.

    The caller's transaction holds the lock.
    """
    if not connection.execute("SELECT 1 FROM unreported_batches LIMIT 1").fetchone():
        return False
    new: _NewEvents = defaultdict(list)
    anonymous: dict[int, list[Event]] = defaultdict(list)
    rows = connection.execute(TAKE, {"limit": BATCHES})
    for shop_id, visitor, event in read_events(Values(connection), rows):
        if visitor is None:
            anonymous[shop_id].append(event)
        else:
            new[shop_id, visitor].append(event)
    cells: dict[int, Cells] = defaultdict(Counter)
    for shop_id, events in anonymous.items():
        cells[shop_id] = count_anonymous(events)
    _merge(connection, new, cells)
    for shop_id, shop_cells in cells.items():
        add_cells(connection, shop_id, shop_cells)
    return True


def count_journey(events: list[Event], window: int) -> Cells:
    """The cells of all that a visitor did; a robot's count as events only."""
    if journeys.kept(events) is None:
        return count_anonymous(events)
    return count(events, window)


def _merge(connection: Connection, new: _NewEvents, cells: dict[int, Cells]) -> None:
    """Put the new events into their visitors' journeys, and the difference into the cells."""
    windows = {shop_id: read_window(connection, shop_id) for shop_id in {shop for shop, _ in new}}
    known = journeys.read(connection, new.keys())
    merged: dict[journeys.Visitor, journeys.Journey] = {}
    for visitor, events in new.items():
        shop_id, old = visitor[0], known.get(visitor, [])
        if old is None:
            cells[shop_id].update(count_anonymous(events))
            continue
        cells[shop_id].subtract(count(old, windows[shop_id]))
        all_events = sorted([*old, *events])
        merged[visitor] = journeys.kept(all_events)
        cells[shop_id].update(count_journey(all_events, windows[shop_id]))
    journeys.write(connection, merged)
