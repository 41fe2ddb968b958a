"""The counts of a range, read as sums over `report_counts`."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from itertools import chain
from operator import add
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from psycopg import Connection

from app.counts import cut
from app.counts.cells import unpack
from app.counts.measures import ALL, OTHERS, STEP_MEASURES, Dimension, Measure
from app.counts.period import EPOCH, Period, Shop
from app.counts.times import BUCKETS, CLASSES, SPANS, part

Numbers = dict[Measure, int]
_DAILY = frozenset({Measure.VISITORS, Measure.TRIED, Measure.TRIED_ADDED})


class Visitors(NamedTuple):
    """Different visitors by measure, of the period and of the one before; of the period those whose
    window is over; and some measures of each day, of both."""

    now: Numbers
    before: Numbers
    over: Numbers
    days: dict[int, Counter[int]]
    days_before: dict[int, Counter[int]]


class Times(NamedTuple):
    """For each step (from 1) the median of seconds, if there is any; the same for each span, and
    how many visitors took a time of each class (app.counts.times)."""

    medians: dict[int, int]
    spans: dict[int, int]
    classes: dict[int, list[int]]


class Group(NamedTuple):
    """Different visitors of a group, in all and by step of the funnel; and by step those of the
    days of which each attempt has had its window."""

    visitors: int
    steps: list[int]
    over: list[int]

    @property
    def rate(self) -> float | None:
        """Of those who saw the product page, the share that took the last step."""
        return self.over[-1] / self.over[0] if self.over[0] else None


class Moments(NamedTuple):
    """Moments of the shop's clock, each with its day, and the range that they cut short: the same
    hour in the period before, of a period with today in it; and when what began has had its window.
    """

    before: Period
    until: datetime | None  # None: all of the period before
    over: Period
    began_by: datetime | None  # None: all of `over` has had its window

    @property
    def end_of_all_over(self) -> int:
        """The first day of which not each attempt has had its window."""
        _, end = self.over.bounds
        return end - 1 if self.began_by else end


def moments(connection: Connection, shop: Shop, period: Period) -> Moments:
    before = period.before(shop.today)
    row = connection.execute(
        "SELECT (%(now)s AT TIME ZONE %(zone)s - %(length)s) AT TIME ZONE %(zone)s,"
        " (%(began_by)s AT TIME ZONE %(zone)s)::date",
        {"now": shop.now, "began_by": shop.began_by, "zone": shop.time_zone,
         "length": period.length},
    ).fetchone()  # fmt: skip
    same_hour, day = row or (None, period.last)
    return Moments(
        before,
        same_hour if period.has(shop.today) else None,
        Period(period.first, min(day, period.last)),
        shop.began_by if day <= period.last else None,
    )


def visitors(connection: Connection, shop: Shop, period: Period, of: Moments) -> Visitors:
    first, end = period.bounds
    earlier, end_of_before = of.before.bounds
    _, end_of_over = of.over.bounds
    now: Counter[int] = Counter()
    before: Counter[int] = Counter()
    over: Counter[int] = Counter()
    days: defaultdict[int, Counter[int]] = defaultdict(Counter)
    for day, _, cells in _rows(connection, shop, Dimension.WHOLE, earlier, end):
        for _, measure, previous, number in unpack(cells):
            if previous == day and measure in _DAILY:
                days[day][measure] = number
            if day < end_of_before:
                if previous >= earlier:
                    before[measure] += number
            elif previous >= first:
                now[measure] += number
                if day < end_of_over:
                    over[measure] += number
    if of.until:
        before.update(
            cut.of_visitors_until(connection, shop, of.before.first, of.before.last, of.until)
        )
    if of.began_by and of.over.first <= of.over.last:
        over.update(
            cut.of_visitors_over(connection, shop, of.over.first, of.over.last, of.began_by)
        )
    return Visitors(
        _by_name(now),
        _by_name(before),
        _by_name(over),
        {day: numbers for day, numbers in days.items() if day >= first},
        {day: numbers for day, numbers in days.items() if day < end_of_before},
    )


def _by_name(numbers: Counter[int]) -> Numbers:
    return {measure: numbers[measure] for measure in Measure}


def times(connection: Connection, shop: Shop, period: Period) -> Times:
    """Of all attempts so far, whether or not they have had their window; medians in two looks."""
    first, end = period.bounds
    by_bucket = _times(
        chain.from_iterable(
            _rows(connection, shop, scale, first, end)
            for scale in (Dimension.COARSE, Dimension.SPAN)
        ),
        first,
    )
    middles = _middles({step: sum(buckets.values()) for step, buckets in by_bucket.items()})
    looks: set[tuple[int, int, int]] = set()  # step, bucket, place within the bucket
    for step, place in middles:
        bucket, below = _value_at(place, by_bucket[step])
        looks.add((step, bucket, place - below))
    parts = {part(step, bucket) for step, bucket, _ in looks}
    by_part: defaultdict[int, Counter[int]] = defaultdict(Counter)
    for _, of_part, cells in _rows(connection, shop, Dimension.FINE, first, end, parts):
        for seconds, _, previous, number in unpack(cells):
            if previous >= first:
                by_part[of_part][seconds] += number
    values: defaultdict[int, list[int]] = defaultdict(list)
    for step, bucket, place in looks:
        values[step].append(_value_at(place, by_part[part(step, bucket)])[0])
    middle = {step: sum(both) // len(both) for step, both in values.items()}
    return Times(
        {step: seconds for step, seconds in middle.items() if step not in SPANS},
        {span: seconds for span, seconds in middle.items() if span in SPANS},
        {span: [by_bucket[span][place] for place in range(len(CLASSES) + 1)] for span in SPANS},
    )


def _middles(times: Mapping[int, int]) -> set[tuple[int, int]]:
    """Steps, each with the place (from 1) of the time in the middle, or of the two there; of how
    many times there are of each."""
    return {
        (step, place)
        for step, number in times.items()
        if number
        for place in ((number + 1) // 2, number // 2 + 1)
    }


def _times(rows: Iterator[tuple[int, int, bytes]], first: int) -> dict[int, dict[int, int]]:
    """How many visitors, by step or span and bucket."""
    times = [[0] * BUCKETS for _ in (*STEP_MEASURES, *SPANS)]
    for _, _, cells in rows:
        for step, bucket, previous, number in unpack(cells):
            if previous >= first:
                times[step][bucket] += number
    return {step: dict(enumerate(numbers)) for step, numbers in enumerate(times)}


def _value_at(place: int, numbers: Mapping[int, int]) -> tuple[int, int]:
    """The value at that place (from 1) in ascending order, and how many are below the value."""
    below = 0
    for value, number in sorted(numbers.items()):
        if below + number >= place:
            return value, below
        below += number
    raise ValueError("the counts of times do not add up to those of visitors")


def days(
    connection: Connection, shop: Shop, period: Period, of: Moments, visitors: Visitors
) -> list[dict[str, Any]]:
    """Each day's events and visitors, and the share of those who saw a result first and then added
    to the cart, once all had their window; with the day as far into the period before."""
    first, end = period.bounds
    earlier, _ = of.before.bounds
    end_of_over = of.end_of_all_over
    events = _events(connection, shop, Period(of.before.first, period.last))

    def shown(day: int, numbers: Mapping[int, Counter[int]]) -> dict[str, Any]:
        of_day = numbers.get(day, Counter())
        tried = of_day[Measure.TRIED] if day < end_of_over else 0
        return {
            "day": (EPOCH + timedelta(days=day)).isoformat(),
            "events": events.get(day, 0),
            "visitors": of_day[Measure.VISITORS],
            "rate": of_day[Measure.TRIED_ADDED] / tried if tried else None,
        }

    return [
        {
            **shown(day, visitors.days),
            "before": shown(day - first + earlier, visitors.days_before),
        }
        for day in range(first, end)
    ]


def hours(connection: Connection, shop: Shop, day: date) -> list[dict[str, Any]]:
    """The events of each hour of a day, None where it has not begun, and of the day before."""
    rows = connection.execute(
        "SELECT (occurred_at AT TIME ZONE %(zone)s)::date = %(day)s,"
        " extract(hour FROM occurred_at AT TIME ZONE %(zone)s)::int, count(*) FROM events"
        " WHERE shop_id = %(shop)s"
        # The bounds are for the index: a midnight may come twice where clocks go back.
        " AND occurred_at >= (%(day)s - 1)::timestamp AT TIME ZONE %(zone)s - interval '3 hours'"
        " AND occurred_at < (%(day)s + 1)::timestamp AT TIME ZONE %(zone)s + interval '3 hours'"
        " AND (occurred_at AT TIME ZONE %(zone)s)::date BETWEEN %(day)s - 1 AND %(day)s"
        " GROUP BY 1, 2",
        {"shop": shop.id, "zone": shop.time_zone, "day": day},
    )
    events: defaultdict[tuple[bool, int], int] = defaultdict(int)
    for is_day, hour, number in rows:
        events[is_day, hour] = number
    now = shop.now.astimezone(ZoneInfo(shop.time_zone))
    begun = 24 if day < shop.today else now.hour + 1 if day == shop.today else 0
    return [
        {
            "hour": hour,
            "events": events[True, hour] if hour < begun else None,
            "before": events[False, hour],
        }
        for hour in range(24)
    ]


def events_before(connection: Connection, shop: Shop, of: Moments) -> int:
    number = sum(_events(connection, shop, of.before).values())
    if of.until:
        number -= cut.events_after(connection, shop, of.before.last, of.until)
    return number


def _events(connection: Connection, shop: Shop, period: Period) -> dict[int, int]:
    """By day."""
    return {
        day: sum(number for *_, number in unpack(cells))
        for day, _, cells in _rows(connection, shop, Dimension.EVENT, *period.bounds)
    }


def groups(
    connection: Connection, shop: Shop, period: Period, dimension: Dimension, of: Moments
) -> dict[int, Group]:
    """By value, the largest first; after ALL, and with OTHERS as the last."""
    first, end = period.bounds
    end_of_over = of.end_of_all_over
    is_product = dimension is Dimension.PRODUCT
    both: tuple[dict[int, list[int]], dict[int, list[int]]] = ({}, {})  # over, and later
    # A product's days together: to have each row by itself takes longer than to add it up.
    rows = connection.execute(
        "SELECT part, string_agg(cells, '') FILTER (WHERE day < %(over)s),"
        " string_agg(cells, '') FILTER (WHERE day >= %(over)s) FROM report_counts"
        " WHERE shop_id = %(shop)s AND dimension = %(dimension)s AND day >= %(first)s"
        " AND day < %(end)s GROUP BY part",
        {"shop": shop.id, "dimension": dimension, "first": first, "end": end, "over": end_of_over},
        binary=True,
    )
    for of_part, *cells in rows.fetchall():
        for sums, packed in zip(both, cells, strict=True):
            _add_up(sums, packed or b"", first, of_part if is_product else None)
    over, later = both
    if not is_product:
        for sums in both:
            sums[ALL] = [sum(numbers) for numbers in zip(*sums.values(), _none(), strict=True)]
    now = {
        value: list(map(add, over.get(value, _none()), later.get(value, _none())))
        for value in over.keys() | later.keys()
    }
    ordered = sorted(
        now.items(), key=lambda one: (one[0] != ALL, one[0] == OTHERS, -one[1][0], one[0])
    )
    return {
        value: Group(all_, steps, over.get(value, _none())[1:])
        for value, (all_, *steps) in ordered
        if all_
    }


def _none() -> list[int]:
    """All, and by step."""
    return [0] * (1 + len(STEP_MEASURES))


def _add_up(sums: dict[int, list[int]], cells: bytes, first: int, product: int | None) -> None:
    of_product = sums.setdefault(product, _none()) if product is not None else []
    for value, measure, previous, number in unpack(cells):
        if previous >= first:
            if product is None:
                of_value = sums.get(value)
                if of_value is None:
                    of_value = sums[value] = _none()
                of_value[measure] += number
            else:
                of_product[measure] += number


def _rows(
    connection: Connection,
    shop: Shop,
    dimension: Dimension,
    first: int,
    end: int,
    parts: set[int] | None = None,
) -> Iterator[tuple[int, int, bytes]]:
    """Day, part, cells."""
    return iter(
        connection.execute(
            "SELECT day, part, cells FROM report_counts WHERE shop_id = %s AND dimension = %s"
            " AND day >= %s AND day < %s AND part = ANY(coalesce(%s::integer[], ARRAY[part]))",
            [shop.id, dimension, first, end, None if parts is None else list(parts)],
            binary=True,
        ).fetchall()
    )
