"""The counts of a range, read as sums over `report_counts`."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, timedelta
from itertools import compress
from operator import add
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from psycopg import Connection

from app.counts import cut
from app.counts.cells import (
    of_value,
    times_of_value,
    unlike,
    unpack,
    unpack_alike,
    unpack_scale,
    unpack_times,
)
from app.counts.measures import ALL, LIKE, STEP_MEASURES, Dimension, Measure
from app.counts.only import Only
from app.counts.period import EPOCH, Period, Shop
from app.counts.times import BUCKETS, CLASSES, SPANS, bucket_of, decoded, part

Numbers = dict[Measure, int]
_DAILY = frozenset({Measure.VISITORS, Measure.TRIED, Measure.TRIED_ADDED, Measure.EVENTS})
_DAILY_OF_GROUP = _DAILY | {LIKE[measure] for measure in _DAILY if measure in LIKE}


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


def visitors(
    connection: Connection, shop: Shop, period: Period, of: Moments, only: Only | None = None
) -> Visitors:
    first, end = period.bounds
    earlier, end_of_before = of.before.bounds
    _, end_of_over = of.over.bounds
    of_over, later, of_before = (_measures() for _ in range(3))
    days: defaultdict[int, Counter[int]] = defaultdict(Counter)
    daily = _DAILY_OF_GROUP if only else _DAILY
    for day, cells in _of_visitors(connection, shop, earlier, end, only):
        if day < end_of_before:
            begin, sums = earlier, of_before
        else:
            begin, sums = first, of_over if day < end_of_over else later
        for measure, previous, number in unpack_alike(cells):
            if previous >= begin:
                sums[measure] += number
                if previous == day and measure in daily:
                    days[day][measure] = number
    now, before, over = _counter(map(add, of_over, later)), _counter(of_before), _counter(of_over)
    for numbers in (now, before, over, *days.values()) if only else ():
        complete(numbers)
    if of.until:
        before.update(
            cut.of_visitors_until(connection, shop, of.before.first, of.before.last, of.until, only)
        )
    if of.began_by and of.over.first <= of.over.last:
        over.update(
            cut.of_visitors_over(connection, shop, of.over.first, of.over.last, of.began_by, only)
        )
    return Visitors(
        by_name(now),
        by_name(before),
        by_name(over),
        {day: numbers for day, numbers in days.items() if day >= first},
        {day: numbers for day, numbers in days.items() if day < end_of_before},
    )


def totals(connection: Connection, shop: Shop, period: Period) -> tuple[Numbers, int | None]:
    """Different visitors of days that are over, by measure; and the first day with any."""
    first, end = period.bounds
    sums = _measures()
    rows = _rows(connection, shop, Dimension.WHOLE, first, end)
    for _, _, cells in rows:
        for measure, previous, number in unpack_alike(cells):
            if previous >= first:
                sums[measure] += number
    return by_name(_counter(sums)), min((day for day, *_ in rows), default=None)


def _of_visitors(
    connection: Connection, shop: Shop, first: int, end: int, only: Only | None
) -> Iterator[tuple[int, bytes]]:
    """Each day's cells."""
    if not only:
        for day, _, cells in _rows(connection, shop, Dimension.WHOLE, first, end):
            yield day, cells
        return
    for day, cells, more in _rows_of(connection, shop, only, "cells, more", first, end):
        if only.dimension is not Dimension.PRODUCT:
            cells, more = of_value(only.number, cells, more)
        yield day, cells + (unlike(cells) if more is None else more)


def _measures() -> list[int]:
    """Room for each that a cell can name."""
    return [0] * 256


def _counter(numbers: Iterable[int]) -> Counter[int]:
    return Counter(dict(enumerate(numbers)))


def by_name(numbers: Counter[int]) -> Numbers:
    return {measure: numbers[measure] for measure in Measure}


def times(connection: Connection, shop: Shop, period: Period, only: Only | None = None) -> Times:
    """Of all attempts so far, whether or not they have had their window; medians in two looks."""
    first, end = period.bounds
    if only:
        return _times_of(connection, shop, only, first, end)
    by_bucket = _coarse_times(connection, shop, first, end)
    middles = _middles({step: sum(buckets.values()) for step, buckets in by_bucket.items()})
    looks: set[tuple[int, int, int]] = set()  # step, bucket, place within the bucket
    for step, place in middles:
        bucket, below = _value_at(place, by_bucket[step])
        looks.add((step, bucket, place - below))
    parts = {part(step, bucket) for step, bucket, _ in looks}
    by_part: defaultdict[int, defaultdict[int, int]] = defaultdict(lambda: defaultdict(int))
    for of_part, cells in connection.execute(
        "SELECT part, string_agg(cells, '') FROM report_counts WHERE shop_id = %s"
        " AND dimension = %s AND day >= %s AND day < %s AND part = ANY(%s::integer[])"
        " GROUP BY part",
        [shop.id, Dimension.FINE, first, end, list(parts)],
        binary=True,
    ).fetchall():
        numbers = by_part[of_part]
        for seconds, _, previous, number in unpack(cells):
            if previous >= first:
                numbers[seconds] += number
    values: defaultdict[int, list[int]] = defaultdict(list)
    for step, bucket, place in looks:
        values[step].append(_value_at(place, by_part[part(step, bucket)])[0])
    return _with_classes(values, by_bucket)


def _times_of(connection: Connection, shop: Shop, only: Only, first: int, end: int) -> Times:
    """In one look: of a group there are fewer."""
    codes = [0] * 2**16
    for _, times in _rows_of(connection, shop, only, "times", first, end):
        if times and only.dimension is not Dimension.PRODUCT:
            times = times_of_value(only.number, times)
        for code, previous, number in unpack_times(times or b""):
            if previous >= first:
                codes[code] += number
    by_second: defaultdict[int, dict[int, int]] = defaultdict(dict)
    by_bucket: defaultdict[int, Counter[int]] = defaultdict(Counter)
    for code in compress(range(len(codes)), codes):
        step, seconds = decoded(code)
        by_second[step][seconds] = codes[code]
        by_bucket[step][bucket_of(step, seconds)] += codes[code]
    values: defaultdict[int, list[int]] = defaultdict(list)
    for step, place in _middles({step: sum(of.values()) for step, of in by_second.items()}):
        values[step].append(_value_at(place, by_second[step])[0])
    return _with_classes(values, by_bucket)


def _with_classes(
    values: Mapping[int, list[int]], by_bucket: Mapping[int, Mapping[int, int]]
) -> Times:
    """From the one or two times in the middle."""
    middle = {step: sum(both) // len(both) for step, both in values.items()}
    return Times(
        {step: seconds for step, seconds in middle.items() if step not in SPANS},
        {span: seconds for span, seconds in middle.items() if span in SPANS},
        {
            span: [by_bucket[span].get(place, 0) for place in range(len(CLASSES) + 1)]
            for span in SPANS
        },
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


def _coarse_times(
    connection: Connection, shop: Shop, first: int, end: int
) -> dict[int, Mapping[int, int]]:
    """How many visitors, by step or span and bucket."""
    numbers = [0] * 2**16
    for scale in (Dimension.COARSE, Dimension.SPAN):
        rows = _rows(connection, shop, scale, first, end)
        for place, previous, number in unpack_scale(b"".join([cells for _, _, cells in rows])):
            if previous >= first:
                numbers[place] += number
    return {
        step: dict(enumerate(numbers[step << 8 :][:BUCKETS]))
        for step in range(len(STEP_MEASURES) + len(SPANS))
    }


def _value_at(place: int, numbers: Mapping[int, int]) -> tuple[int, int]:
    """The value at that place (from 1) in ascending order, and how many are below the value."""
    below = 0
    for value, number in sorted(numbers.items()):
        if below + number >= place:
            return value, below
        below += number
    raise ValueError("the counts of times do not add up to those of visitors")


def days(
    connection: Connection,
    shop: Shop,
    period: Period,
    of: Moments,
    visitors: Visitors,
    only: Only | None = None,
) -> list[dict[str, Any]]:
    """Each day's events and visitors, and the share of those who saw a result first and then added
    to the cart, once all had their window; with the day as far into the period before."""
    first, end = period.bounds
    earlier, _ = of.before.bounds
    end_of_over = of.end_of_all_over
    events = {} if only else _events(connection, shop, Period(of.before.first, period.last))

    def shown(day: int, numbers: Mapping[int, Counter[int]]) -> dict[str, Any]:
        of_day = numbers.get(day, Counter())
        tried = of_day[Measure.TRIED] if day < end_of_over else 0
        return {
            "day": (EPOCH + timedelta(days=day)).isoformat(),
            "events": of_day[Measure.EVENTS] if only else events.get(day, 0),
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
        f"{cut.QUARTERS} SELECT (at AT TIME ZONE %(zone)s)::date = %(day)s,"
        " extract(hour FROM at AT TIME ZONE %(zone)s)::int, sum(number)::int FROM quarters"
        " WHERE (at AT TIME ZONE %(zone)s)::date BETWEEN %(day)s - 1 AND %(day)s"
        " GROUP BY 1, 2".encode(),
        {"shop": shop.id, "zone": shop.time_zone, "day": day, "after": None},
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


def complete(numbers: Counter[int] | list[int]) -> None:
    """Of a group, by measure, some of which are stored as differences to others."""
    for measure, base in LIKE.items():
        numbers[measure] += numbers[base]


def _rows_of(
    connection: Connection, shop: Shop, only: Only, columns: str, first: int, end: int
) -> list[Any]:
    """Day, and the columns: of all values of a dimension but of a product alone."""
    part = only.number if only.dimension is Dimension.PRODUCT else ALL
    return connection.execute(
        f"SELECT day, {columns} FROM report_counts"
        " WHERE shop_id = %s AND dimension = %s AND day = ANY(%s::integer[])"
        " AND part = %s".encode(),
        [shop.id, only.dimension, list(range(first, end)), part],
        binary=True,
    ).fetchall()


def _rows(
    connection: Connection, shop: Shop, dimension: Dimension, first: int, end: int
) -> list[tuple[int, int, bytes]]:
    """Day, part, cells."""
    return connection.execute(
        "SELECT day, part, cells FROM report_counts WHERE shop_id = %s AND dimension = %s"
        " AND day >= %s AND day < %s",
        [shop.id, dimension, first, end],
        binary=True,
    ).fetchall()
