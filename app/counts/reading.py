"""The counts of a range, read as sums over `report_cells`."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from psycopg import Connection

from app.counts.measures import ALL, STEP_MEASURES, Dimension, Measure
from app.counts.period import EPOCH, Period, Shop
from app.counts.times import (
    BUCKETS,
    bucket_range,
    bucket_seconds,
    decode,
    encode_bucket,
    encode_seconds,
)

Numbers = dict[Measure, int]


def visitors(
    connection: Connection, shop: Shop, period: Period, wanted: Sequence[Measure]
) -> tuple[Numbers, Numbers]:
    """Different visitors by measure, of the period and of the one before."""
    first, end = period.bounds
    earlier, _ = period.before.bounds
    rows = connection.execute(
        "SELECT measure, coalesce(sum(number) FILTER (WHERE previous >= %(first)s), 0),"
        " coalesce(sum(number) FILTER (WHERE day < %(first)s), 0)"
        " FROM report_cells WHERE shop_id = %(shop)s AND dimension = %(dimension)s"
        " AND value_id = %(value)s AND measure = ANY(%(wanted)s)"
        " AND previous >= %(earlier)s AND previous < %(end)s AND day < %(end)s GROUP BY measure",
        {
            "shop": shop.id,
            "dimension": Dimension.WHOLE,
            "value": ALL,
            "wanted": list(map(int, wanted)),
            "earlier": earlier,
            "first": first,
            "end": end,
        },
    ).fetchall()
    none = dict.fromkeys(wanted, 0)
    now = {Measure(measure): number for measure, number, _ in rows}
    before = {Measure(measure): number for measure, _, number in rows}
    return none | now, none | before


def medians(connection: Connection, shop: Shop, period: Period, now: Numbers) -> dict[int, int]:
    """For each step (from 1) the median of seconds from the one before, in two looks."""
    middles = _middles(now)
    wanted = {step for step, _ in middles}
    coarse = _times(
        connection,
        shop,
        period,
        [encode_bucket(step, bucket) for step in wanted for bucket in range(BUCKETS)],
    )
    looks: set[tuple[int, int, int]] = set()  # step, bucket, place within the bucket
    for step, place in middles:
        bucket, below = _value_at(place, coarse[step])
        looks.add((step, bucket, place - below))
    fine = _times(
        connection,
        shop,
        period,
        [
            encode_seconds(step, seconds)
            for step, bucket in {(step, bucket) for step, bucket, _ in looks}
            for seconds in bucket_seconds(bucket)
        ],
    )
    values: defaultdict[int, list[int]] = defaultdict(list)
    for step, bucket, place in looks:
        low, end = bucket_range(bucket)
        within = [(seconds, n) for seconds, n in fine[step] if low <= seconds < end]
        values[step].append(_value_at(place, within)[0])
    return {step: sum(both) // len(both) for step, both in values.items()}


def _middles(now: Numbers) -> set[tuple[int, int]]:
    """Steps, each with the place (from 1) of the visitor in the middle, or of the two there."""
    return {
        (step, place)
        for step, measure in enumerate(STEP_MEASURES)
        if step and now[measure]
        for place in ((now[measure] + 1) // 2, now[measure] // 2 + 1)
    }


def _times(
    connection: Connection, shop: Shop, period: Period, measures: list[int]
) -> dict[int, list[tuple[int, int]]]:
    """By step: buckets or seconds in ascending order, each with its number of visitors."""
    first, end = period.bounds
    times: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    for measure, number in connection.execute(
        "SELECT measure, sum(number) FROM report_cells WHERE shop_id = %s AND dimension = %s"
        " AND value_id = %s AND measure = ANY(%s)"
        " AND previous >= %s AND previous < %s AND day < %s"
        " GROUP BY measure HAVING sum(number) > 0 ORDER BY measure",
        [shop.id, Dimension.WHOLE, ALL, measures, first, end, end],
    ):
        time = decode(measure)
        times[time.step].append((time.number, number))
    return times


def _value_at(place: int, numbers: list[tuple[int, int]]) -> tuple[int, int]:
    """The value at that place (from 1) in ascending order, and how many are below the value."""
    below = 0
    for value, number in numbers:
        if below + number >= place:
            return value, below
        below += number
    raise ValueError("the counts of times do not add up to those of visitors")


def days(connection: Connection, shop: Shop, period: Period) -> list[dict[str, Any]]:
    first, end = period.bounds
    events: dict[int, int] = dict(
        connection.execute(
            "SELECT day, sum(number)::bigint FROM report_cells WHERE shop_id = %s"
            " AND dimension = %s AND measure = %s AND previous >= %s AND previous < %s"
            " GROUP BY day",
            [shop.id, Dimension.EVENT, Measure.EVENTS, first, end],
        ).fetchall()
    )
    visitors: dict[int, int] = dict(
        connection.execute(
            "SELECT day, number FROM report_cells WHERE shop_id = %s AND dimension = %s"
            " AND measure = %s AND value_id = %s AND previous >= %s AND previous < %s"
            " AND day = previous",
            [shop.id, Dimension.WHOLE, Measure.VISITORS, ALL, first, end],
        ).fetchall()
    )
    return [
        {
            "day": (EPOCH + timedelta(days=day)).isoformat(),
            "events": events.get(day, 0),
            "visitors": visitors.get(day, 0),
        }
        for day in range(first, end)
    ]


def events(connection: Connection, shop: Shop, period: Period) -> int:
    first, end = period.bounds
    row = connection.execute(
        "SELECT coalesce(sum(number), 0)::bigint FROM report_cells WHERE shop_id = %s"
        " AND dimension = %s AND measure = %s AND previous >= %s AND previous < %s",
        [shop.id, Dimension.EVENT, Measure.EVENTS, first, end],
    ).fetchone()
    return row[0] if row else 0


def largest_groups(
    connection: Connection, shop: Shop, period: Period, dimension: int, most: int
) -> tuple[dict[int, int], int]:
    """Visitors by value, the largest first, after those of ALL; and how many values there are."""
    first, end = period.bounds
    rows = connection.execute(
        "SELECT value_id, visitors, count(*) OVER () - 1 FROM ("
        " SELECT value_id, sum(number) AS visitors FROM report_cells"
        " WHERE shop_id = %s AND dimension = %s AND measure = %s"
        " AND previous >= %s AND previous < %s AND day < %s"
        " GROUP BY value_id HAVING sum(number) > 0) AS groups"
        " ORDER BY value_id = %s DESC, visitors DESC, value_id LIMIT %s",
        [shop.id, dimension, Measure.VISITORS, first, end, end, ALL, most + 1],
    ).fetchall()
    return {value: visitors for value, visitors, _ in rows}, rows[0][2] if rows else 0


def group_steps(
    connection: Connection, shop: Shop, period: Period, dimension: int, values: list[int]
) -> dict[int, list[int]]:
    first, end = period.bounds
    steps = {value: [0] * len(STEP_MEASURES) for value in values}
    for value, measure, number in connection.execute(
        "SELECT value_id, measure, sum(number) FROM report_cells WHERE shop_id = %s"
        " AND dimension = %s AND measure = ANY(%s) AND value_id = ANY(%s)"
        " AND previous >= %s AND previous < %s AND day < %s GROUP BY value_id, measure",
        [shop.id, dimension, list(map(int, STEP_MEASURES)), values, first, end, end],
    ):
        steps[value][STEP_MEASURES.index(measure)] = number
    return steps
