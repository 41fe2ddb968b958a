"""The counts of a range, read as sums over `report_cells`."""

from collections import defaultdict
from datetime import timedelta
from typing import Any

from psycopg import Connection

from app.counts import measures as m
from app.counts.period import EPOCH, Period, Shop

STEP_MEASURES = range(m.STEP, m.STEP + len(m.STEPS))


def visitors(
    connection: Connection, shop: Shop, period: Period, wanted: list[int]
) -> tuple[dict[int, int], dict[int, int]]:
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
            "dimension": m.WHOLE,
            "value": m.ALL,
            "wanted": wanted,
            "earlier": earlier,
            "first": first,
            "end": end,
        },
    ).fetchall()
    now = dict.fromkeys(wanted, 0) | {measure: number for measure, number, _ in rows}
    return now, dict.fromkeys(wanted, 0) | {measure: number for measure, _, number in rows}


def medians(
    connection: Connection, shop: Shop, period: Period, now: dict[int, int]
) -> dict[int, int]:
    """For each step (from 1) the median of seconds from the one before, in two looks."""
    first, end = period.bounds

    def numbers(measures: list[int]) -> list[tuple[int, int]]:
        return connection.execute(
            "SELECT measure, sum(number) FROM report_cells WHERE shop_id = %s AND dimension = %s"
            " AND value_id = %s AND measure = ANY(%s)"
            " AND previous >= %s AND previous < %s AND day < %s"
            " GROUP BY measure HAVING sum(number) > 0 ORDER BY measure",
            [shop.id, m.WHOLE, m.ALL, measures, first, end, end],
        ).fetchall()

    steps = [step for step in range(1, len(m.STEPS)) if now[m.STEP + step]]
    # One in the middle, or the two of an even number.
    middles = {
        (step, place)
        for step in steps
        for place in ((now[m.STEP + step] + 1) // 2, now[m.STEP + step] // 2 + 1)
    }
    scales = {step: m.TIME_COARSE + 1_000 * step for step in steps}
    found = numbers([scale + number for scale in scales.values() for number in range(64)])
    looks: set[tuple[int, int, int, int]] = set()
    for step, place in middles:
        own = [(measure - scales[step], n) for measure, n in found if measure // 1_000 == 10 + step]
        number, below = _middle(own, place)
        looks.add((step, *m.coarse_range(number), place - below))
    fine = numbers(
        [
            m.TIME * step + seconds
            for step, low, high in {look[:3] for look in looks}
            for seconds in range(low, high, 10 ** max(0, len(str(low)) - 3))
        ]
    )
    values: defaultdict[int, list[int]] = defaultdict(list)
    for step, low, high, place in looks:
        first_one, end_of_own = m.TIME * step + low, m.TIME * step + high
        own = [(measure % m.TIME, n) for measure, n in fine if first_one <= measure < end_of_own]
        values[step].append(_middle(own, place)[0])
    return {step: sum(middle) // len(middle) for step, middle in values.items()}


def _middle(numbers: list[tuple[int, int]], middle: int) -> tuple[int, int]:
    """The first value at which so many are reached, and how many are below it."""
    below = 0
    for value, number in numbers:
        if below + number >= middle:
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
            [shop.id, m.EVENT, m.EVENTS, first, end],
        ).fetchall()
    )
    visitors: dict[int, int] = dict(
        connection.execute(
            "SELECT day, number FROM report_cells WHERE shop_id = %s AND dimension = %s"
            " AND measure = %s AND value_id = %s AND previous >= %s AND previous < %s"
            " AND day = previous",
            [shop.id, m.WHOLE, m.ANY, m.ALL, first, end],
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
        [shop.id, m.EVENT, m.EVENTS, first, end],
    ).fetchone()
    return row[0] if row else 0


def largest_groups(
    connection: Connection, shop: Shop, period: Period, dimension: int, most: int
) -> tuple[dict[int, int], int]:
    """Visitors by value, the largest first, after those of m.ALL; and how many values there are."""
    first, end = period.bounds
    rows = connection.execute(
        "SELECT value_id, visitors, count(*) OVER () - 1 FROM ("
        " SELECT value_id, sum(number) AS visitors FROM report_cells"
        " WHERE shop_id = %s AND dimension = %s AND measure = %s"
        " AND previous >= %s AND previous < %s AND day < %s"
        " GROUP BY value_id HAVING sum(number) > 0) AS groups"
        " ORDER BY value_id = %s DESC, visitors DESC, value_id LIMIT %s",
        [shop.id, dimension, m.ANY, first, end, end, m.ALL, most + 1],
    ).fetchall()
    return {value: visitors for value, visitors, _ in rows}, rows[0][2] if rows else 0


def group_steps(
    connection: Connection, shop: Shop, period: Period, dimension: int, values: list[int]
) -> dict[int, list[int]]:
    first, end = period.bounds
    steps = {value: [0] * len(m.STEPS) for value in values}
    for value, measure, number in connection.execute(
        "SELECT value_id, measure, sum(number) FROM report_cells WHERE shop_id = %s"
        " AND dimension = %s AND measure = ANY(%s) AND value_id = ANY(%s)"
        " AND previous >= %s AND previous < %s AND day < %s GROUP BY value_id, measure",
        [shop.id, dimension, list(STEP_MEASURES), values, first, end, end],
    ):
        steps[value][measure - m.STEP] = number
    return steps
