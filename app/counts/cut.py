"""Numbers up to a moment within a day, where the counts know only whole days: what the visitors of
the rest of that day add is worked out from their journeys, and taken away."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from threading import Lock

from psycopg import Connection

from app.batch.news import since_epoch
from app.counts import dimensions, journeys
from app.counts.measures import NOT_SHOWN, Event, Measure
from app.counts.only import Only
from app.counts.period import EPOCH, Shop
from app.counts.visitor import EVER, Days, days_and_times, in_range

_HOUR = 60 * 60 * 1_000_000  # µs
_MANY = 2_000  # visitors, whose difference is remembered
_REMEMBERED = 10 * 60.0  # s; so long, too, may what comes late for a past day be missing from it
_MOST_REMEMBERED = 1_000

# What a visitor did, within a window in microseconds, without what lies after a moment in
# microseconds of Unix time.
_Cut = Callable[[Sequence[Event], int, int], Days]

# A midnight may come twice where clocks go back. Who is found in vain changes nothing.
_FIND = f"""
    SELECT DISTINCT {dimensions.VISITOR_KEY} FROM events e
    JOIN batches b ON b.shop_id = e.shop_id AND b.id = e.batch_id
    WHERE e.shop_id = %(shop)s AND e.occurred_at > %(after)s
    AND e.occurred_at <= coalesce(%(upto)s::timestamptz,
        greatest((%(day)s + 1)::timestamp AT TIME ZONE %(zone)s,
            %(day)s::timestamp AT TIME ZONE %(zone)s + %(window)s) + interval '3 hours')"""
# Events of a day, after a moment or with the day before, by quarters of an hour: in all zones a day
# and an hour begin with one, and so a few moments have their day worked out, not each event's.
QUARTERS = """
    WITH quarters AS MATERIALIZED (
        SELECT date_bin('15 minutes', occurred_at, 'epoch') AS at, count(*) AS number FROM events
        WHERE shop_id = %(shop)s AND occurred_at > coalesce(%(after)s::timestamptz,
            (%(day)s - 1)::timestamp AT TIME ZONE %(zone)s - interval '3 hours')
        AND occurred_at < (%(day)s + 1)::timestamp AT TIME ZONE %(zone)s + interval '3 hours'
        GROUP BY 1
    )"""
_COUNT = f"""{QUARTERS}
    SELECT coalesce(sum(number), 0) FROM quarters
    WHERE (at AT TIME ZONE %(zone)s)::date = %(day)s"""


def of_visitors_until(
    connection: Connection, shop: Shop, first: date, day: date, until: datetime, only: Only | None
) -> Counter[int]:
    """By measure, what the visitors of `first` to `day` are more where nothing counts that was done
    after `until`, a moment of `day`. Of `only`, their events as well."""
    return _difference(connection, shop, first, day, until, _done_by, only)


def of_visitors_over(
    connection: Connection,
    shop: Shop,
    first: date,
    day: date,
    began_by: datetime,
    only: Only | None,
) -> Counter[int]:
    """The same, where nothing counts that began after a moment of `day`: a view of the product page
    in the funnel, and of a result, too, in the comparison."""
    return _difference(connection, shop, first, day, began_by, _begun_by, only)


def events_after(connection: Connection, shop: Shop, day: date, after: datetime) -> int:
    """How many of a day's events happened after a moment of it."""
    [(number,)] = connection.execute(_COUNT.encode(), _values(shop, day, after))
    return int(number)


def _done_by(events: Sequence[Event], window: int, end: int) -> Days:
    events = [event for event in events if event.at <= end]
    return days_and_times(events, window)[0] if events else {}


def _begun_by(events: Sequence[Event], window: int, end: int) -> Days:
    return days_and_times(events, window, began_by=end)[0]


_known: dict[tuple[object, ...], tuple[datetime, Counter[int], float]] = {}
_lock = Lock()


def _difference(
    connection: Connection,
    shop: Shop,
    first: date,
    day: date,
    moment: datetime,
    cut: _Cut,
    only: Only | None,
) -> Counter[int]:
    """Of many visitors it is remembered for a while; then only those are looked at who did
    something between that moment and this one."""
    key = (shop.id, shop.time_zone, shop.window_hours, first, day, cut, only)
    known = _known.get(key)
    if known and (known[0] > moment or time.monotonic() - known[2] > _REMEMBERED):
        known = None
    since, difference = (known[0], Counter(known[1])) if known else (moment, Counter())
    values = _values(shop, day, since) | {"upto": moment if known else None}
    found = connection.execute(_FIND.encode(), values).fetchall()
    visitors = [(shop.id, visitor.hex) for (visitor,) in found if visitor is not None]
    begin, end = (first - EPOCH).days, (day - EPOCH).days + 1
    window = shop.window_hours * _HOUR
    # Without a remembered moment it is the difference to all that they did.
    before, now = since_epoch(since) if known else EVER, since_epoch(moment)
    for some in journeys.read(connection, visitors):
        for _, journey in some:
            everything = journeys.unpack(journey or b"")
            if only:
                everything = only.of(everything)
            if events := _that_matter(everything, begin, end, window):
                difference.subtract(in_range(cut(events, window, before), begin, end))
                difference.update(in_range(cut(events, window, now), begin, end))
                later = [e for e in events if now < e.at <= before and begin <= e.day < end]
                difference[Measure.EVENTS] -= len(later)
    if len(visitors) > _MANY:
        _remember(key, moment, difference)
    return difference


def _remember(key: tuple[object, ...], moment: datetime, difference: Counter[int]) -> None:
    with _lock:
        if len(_known) > _MOST_REMEMBERED:
            _known.clear()
        _known[key] = moment, Counter(difference), time.monotonic()


def _that_matter(events: Sequence[Event], begin: int, end: int, window: int) -> list[Event]:
    """What can have been done in attempts that began on the days from `begin` to before `end`."""
    within = [number for number, event in enumerate(events) if begin <= event.day < end]
    if not within:
        return []
    until = events[within[-1]].at + window
    return [
        event for event in events[within[0] :] if event.at <= until and event.kind not in NOT_SHOWN
    ]


def _values(shop: Shop, day: date, after: datetime) -> dict[str, object]:
    return {
        "shop": shop.id,
        "zone": shop.time_zone,
        "day": day,
        "after": after,
        "window": timedelta(hours=shop.window_hours),
    }
