"""Numbers up to a moment within a day, where the counts know only whole days: what the visitors of
the rest of that day add is worked out from their journeys, and taken away."""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta

from psycopg import Connection

from app.counts import dimensions, journeys
from app.counts.measures import NOT_SHOWN, Event
from app.counts.period import EPOCH, Shop
from app.counts.visitor import days_and_times, in_range

_Days = dict[int, frozenset[int]]
_HOUR = 60 * 60 * 1_000_000  # µs

# A midnight may come twice where clocks go back. Who is found in vain changes nothing.
_FIND = f"""
    SELECT DISTINCT {dimensions.VISITOR_KEY} FROM events e
    JOIN batches b ON b.shop_id = e.shop_id AND b.id = e.batch_id
    WHERE e.shop_id = %(shop)s AND e.occurred_at > %(after)s
    AND e.occurred_at < greatest((%(day)s + 1)::timestamp AT TIME ZONE %(zone)s,
        %(day)s::timestamp AT TIME ZONE %(zone)s + %(window)s) + interval '3 hours'"""
_COUNT = """
    SELECT count(*) FROM events WHERE shop_id = %(shop)s AND occurred_at > %(after)s
    AND occurred_at < (%(day)s + 1)::timestamp AT TIME ZONE %(zone)s + interval '3 hours'
    AND (occurred_at AT TIME ZONE %(zone)s)::date = %(day)s"""


def of_visitors_until(
    connection: Connection, shop: Shop, first: date, day: date, until: datetime
) -> Counter[int]:
    """By measure, what the visitors of `first` to `day` are more where nothing counts that was done
    after `until`, a moment of `day`."""
    end = _microseconds(until)

    def cut(events: Sequence[Event], window: int) -> _Days:
        events = [event for event in events if event.at <= end]
        return days_and_times(events, window)[0] if events else {}

    return _differences(connection, shop, first, day, until, cut)


def of_visitors_over(
    connection: Connection, shop: Shop, first: date, day: date, began_by: datetime
) -> Counter[int]:
    """The same, where nothing counts that began after a moment of `day`: a view of the product page
    in the funnel, and of a result, too, in the comparison."""
    end = _microseconds(began_by)

    def cut(events: Sequence[Event], window: int) -> _Days:
        return days_and_times(events, window, began_by=end)[0]

    return _differences(connection, shop, first, day, began_by, cut)


def events_after(connection: Connection, shop: Shop, day: date, after: datetime) -> int:
    """How many of a day's events happened after a moment of it."""
    row = connection.execute(_COUNT.encode(), _values(shop, day, after)).fetchone()
    return int(row[0]) if row else 0


def _differences(
    connection: Connection,
    shop: Shop,
    first: date,
    day: date,
    after: datetime,
    cut: Callable[[Sequence[Event], int], _Days],
) -> Counter[int]:
    window = shop.window_hours * _HOUR
    bounds = (first - EPOCH).days, (day - EPOCH).days + 1
    found = connection.execute(_FIND.encode(), _values(shop, day, after)).fetchall()
    visitors = [(shop.id, visitor.hex) for (visitor,) in found if visitor is not None]
    differences: Counter[int] = Counter()
    for some in journeys.read(connection, visitors):
        for _, journey in some:
            events = [event for event in journey or () if event.kind not in NOT_SHOWN]
            if events:
                whole = days_and_times(events, window)[0]
                differences.subtract(in_range(whole, *bounds))
                differences.update(in_range(cut(events, window), *bounds))
    return differences


def _values(shop: Shop, day: date, after: datetime) -> dict[str, object]:
    return {
        "shop": shop.id,
        "zone": shop.time_zone,
        "day": day,
        "after": after,
        "window": timedelta(hours=shop.window_hours),
    }


def _microseconds(moment: datetime) -> int:
    return (moment - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1)
