"""From announcements to counts, within the caller's transaction."""

from collections import Counter, defaultdict
from collections.abc import Iterable

from psycopg import Connection

from app.counts import journeys
from app.counts.cells import add_cells
from app.counts.measures import Cells, Event, count, count_anonymous
from app.counts.stored import TAKE, read_events
from app.counts.values import Values

BATCHES = 3_000  # at once, and up to as many as the last announcement has
_LOCK = 0x7265706F7274  # "report": one process at a time counts
_DEFAULT_WINDOW = 24  # hours


def is_ours(connection: Connection, *, wait: bool = False) -> bool:
    """Whether this transaction is the one that counts, until its end."""
    if wait:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        return True
    row = connection.execute("SELECT pg_try_advisory_xact_lock(%s)", [_LOCK]).fetchone()
    return bool(row and row[0])


def count_announced(connection: Connection) -> bool:
    """Take some announcements away and count what they announce; whether there was any."""
    if not connection.execute("SELECT 1 FROM unreported_batches LIMIT 1").fetchone():
        return False
    cells: dict[int, Cells] = defaultdict(Counter)
    new: dict[journeys.Visitor, list[Event]] = defaultdict(list)
    rows = connection.execute(TAKE, {"limit": BATCHES})
    for shop_id, visitor, event in read_events(Values(connection), rows):
        if visitor is None:
            cells[shop_id].update(count_anonymous([event]))
        else:
            new[shop_id, visitor].append(event)
    _merge(connection, new, cells)
    for shop_id, its_cells in cells.items():
        add_cells(connection, shop_id, its_cells)
    mark_counted(connection, sorted(cells))
    return True


def window_of(connection: Connection, shop_id: int) -> int:
    """In microseconds."""
    row = connection.execute(
        "SELECT window_hours FROM report_shops WHERE shop_id = %s", [shop_id]
    ).fetchone()
    return (row[0] if row else _DEFAULT_WINDOW) * 60 * 60 * 1_000_000


def mark_counted(connection: Connection, shop_ids: Iterable[int]) -> None:
    connection.execute(  # of a shop that was erased nothing remains
        "INSERT INTO report_shops (shop_id, counted_at)"
        " SELECT id, now() FROM shops WHERE id = ANY(%s)"
        " ON CONFLICT (shop_id) DO UPDATE SET counted_at = excluded.counted_at",
        [list(shop_ids)],
    )


def _merge(
    connection: Connection, new: dict[journeys.Visitor, list[Event]], cells: dict[int, Cells]
) -> None:
    """Put the new events into their visitors' journeys, and the difference into the cells."""
    windows = {shop_id: window_of(connection, shop_id) for shop_id in {shop for shop, _ in new}}
    known = journeys.read(connection, new.keys())
    merged: dict[journeys.Visitor, journeys.Journey] = {}
    for visitor, events in new.items():
        shop_id, old = visitor[0], known.get(visitor, [])
        if old is None:
            cells[shop_id].update(count_anonymous(events))
            continue
        cells[shop_id].subtract(count(old, windows[shop_id]))
        all_events = sorted([*old, *events])
        if len(all_events) > journeys.MOST_EVENTS:
            merged[visitor] = None
            cells[shop_id].update(count_anonymous(all_events))
        else:
            merged[visitor] = all_events
            cells[shop_id].update(count(all_events, windows[shop_id]))
    journeys.write(connection, merged)
