"""The numbers of a shop for a range of days, read from the counts. One form for page, API, CSV and
terminal."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from psycopg import Connection
from psycopg.rows import dict_row

from app.merchant import measures as m
from app.merchant.uplift import Group, Uplift

NAMES = {
    "product_page:page_view": "Product page viewed",
    "widget:button_click": "Button clicked",
    "widget:image_upload": "Photo uploaded",
    "widget:generation_start": "Generation started",
    "widget:result_view": "Result viewed",
    "widget:add_to_cart_clicked": "Add to cart clicked",
    "widget:add_to_cart_success": "Added to cart",
    "widget:share_clicked": "Result shared",
    "widget:download_clicked": "Result downloaded",
    "widget:email_collected": "E-mail collected",
}
BREAKDOWNS = {
    "product": m.PRODUCT,
    "version": m.VERSION,
    "device": m.DEVICE,
    "language": m.LANGUAGE,
}
GROUPS = 10  # of a breakdown; the smaller ones are folded into one
LONGEST = 400  # days
_EPOCH = date(1970, 1, 1)
_STEP_MEASURES = range(m.STEP, m.STEP + len(m.STEPS))


@dataclass(frozen=True)
class Shop:
    id: int
    domain: str
    time_zone: str = "UTC"
    window_hours: int = 24

    def today(self) -> date:
        return datetime.now(ZoneInfo(self.time_zone)).date()


@dataclass(frozen=True)
class Period:
    """Days, both included."""

    first: date
    last: date

    @property
    def before(self) -> "Period":
        length = self.last - self.first + timedelta(days=1)
        return Period(self.first - length, self.last - length)

    @property
    def bounds(self) -> tuple[int, int]:
        """Numbers of the first day, and of the day after the last."""
        return (self.first - _EPOCH).days, (self.last - _EPOCH).days + 1


def find_shop(connection: Connection, domain: str) -> Shop | None:
    """None where it has never sent anything."""
    row = connection.execute(
        "SELECT shops.id, domain, coalesce(time_zone, 'UTC'), coalesce(window_hours, 24)"
        " FROM shops LEFT JOIN report_shops ON shop_id = shops.id WHERE domain = %s",
        [domain],
    ).fetchone()
    return Shop(*row) if row else None


def report(connection: Connection, shop: Shop, period: Period, by: str) -> dict[str, Any]:
    """Everything of a range. Shares are of 1, None where there is nothing to divide by."""
    wanted = [m.ANY, *range(m.STEP, m.PAGE_CART_OR_RESULT + 1)]
    now, before = _visitors(connection, shop, period, wanted)
    days = _days(connection, shop, period)
    events_before = _events(connection, shop, period.before)
    return {
        "shop": shop.domain,
        "time_zone": shop.time_zone,
        "window_hours": shop.window_hours,
        "period": _days_of(period),
        "before": _days_of(period.before),
        "visitors": {"now": now[m.ANY], "before": before[m.ANY]},
        "events": {"now": sum(day["events"] for day in days), "before": events_before},
        "funnel": _funnel(now, before, _medians(connection, shop, period, now)),
        "uplift": _uplift(now),
        "side_steps": [
            {
                "event": event,
                "name": NAMES[event],
                "visitors": now[m.SIDE + number],
                "before": before[m.SIDE + number],
            }
            for number, event in enumerate(m.SIDE_STEPS)
        ],
        "days": days,
        "breakdown": breakdown(connection, shop, period, by),
    }


def breakdown(connection: Connection, shop: Shop, period: Period, by: str) -> dict[str, Any]:
    """The funnel of each group: of visitors by the events that they did in it.

    The groups beyond the largest are folded: their visitors are added up, and one who was in two
    of them counts twice.
    """
    dimension = BREAKDOWNS[by]
    sizes = _group_sizes(connection, shop, period, dimension)
    all_groups = sizes.pop(m.ALL, 0)
    largest = sorted(sizes, key=lambda value: (-sizes[value], value))[:GROUPS]
    steps = _group_steps(connection, shop, period, dimension, [m.ALL, *largest])
    names: dict[int, str] = dict(
        connection.execute(
            "SELECT id, value FROM report_values WHERE id = ANY(%s)", [largest]
        ).fetchall()
    )
    groups = [
        {"value": names.get(value, ""), "visitors": sizes[value], "steps": steps[value]}
        for value in largest
    ]
    folded = None
    if len(sizes) > len(largest):
        folded = {
            "groups": len(sizes) - len(largest),
            "visitors": all_groups - sum(sizes[value] for value in largest),
            "steps": [
                total - sum(steps[value][number] for value in largest)
                for number, total in enumerate(steps[m.ALL])
            ],
        }
    return {"by": by, "groups": groups, "folded": folded}


def freshness(connection: Connection, shop: Shop) -> dict[str, Any]:
    """Until when everything stored is counted, and how many stored requests are not."""
    row = connection.execute(
        "SELECT coalesce(sum((SELECT count(*) FROM unnest(shop_ids) AS id WHERE id = %(id)s)), 0),"
        " min(written_at) FILTER (WHERE %(id)s = ANY(shop_ids)),"
        " EXISTS (SELECT FROM report_dirty WHERE shop_id = %(id)s AND visitor IS NULL)"
        " FROM unreported_batches",
        {"id": shop.id},
    ).fetchone()
    waiting, since, is_recounting = row or (0, None, False)
    return {
        "until": (since or datetime.now(UTC)).astimezone(ZoneInfo(shop.time_zone)).isoformat(),
        "waiting": int(waiting),
        "is_recounting": is_recounting,
    }


def is_empty(connection: Connection, shop: Shop) -> bool:
    """Whether nothing of the shop was ever counted."""
    row = connection.execute(
        "SELECT 1 FROM report_cells WHERE shop_id = %s LIMIT 1", [shop.id]
    ).fetchone()
    return row is None


def rejected(connection: Connection, domain: str, *, limit: int = 20) -> list[dict[str, Any]]:
    """The last ones that were rejected and why."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            "SELECT received_at, code, details, left(payload, 300) AS payload"
            " FROM rejected_events WHERE shop_domain = %s ORDER BY received_at DESC LIMIT %s",
            [domain, limit],
        ).fetchall()


def _days_of(period: Period) -> dict[str, str]:
    return {"first": period.first.isoformat(), "last": period.last.isoformat()}


def _visitors(
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


def _medians(
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
    middles = {step: (now[m.STEP + step] + 1) // 2 for step in steps}
    scales = {step: m.TIME_COARSE + 1_000 * step for step in steps}
    found = numbers([scale + number for scale in scales.values() for number in range(64)])
    looks: dict[int, tuple[int, int, int]] = {}
    for step in steps:
        own = [(measure - scales[step], n) for measure, n in found if measure // 1_000 == 10 + step]
        number, below = _middle(own, middles[step])
        low, high = m.coarse_range(number)
        looks[step] = (low, high, middles[step] - below)
    fine = numbers(
        [
            m.TIME * step + seconds
            for step, (low, high, _) in looks.items()
            for seconds in range(low, high, 10 ** max(0, len(str(low)) - 3))
        ]
    )
    medians = {}
    for step in steps:
        own = [(measure % m.TIME, n) for measure, n in fine if measure // m.TIME == step]
        medians[step] = _middle(own, looks[step][2])[0]
    return medians


def _middle(numbers: list[tuple[int, int]], middle: int) -> tuple[int, int]:
    """The first value at which so many are reached, and how many are below it."""
    below = 0
    for value, number in numbers:
        if below + number >= middle:
            return value, below
        below += number
    raise ValueError("the counts of times do not add up to those of visitors")


def _funnel(
    now: dict[int, int], before: dict[int, int], medians: dict[int, int]
) -> list[dict[str, Any]]:
    visitors = [now[measure] for measure in _STEP_MEASURES]
    return [
        {
            "step": number + 1,
            "event": event,
            "name": NAMES[event],
            "visitors": visitors[number],
            "before": before[m.STEP + number],
            "of_first": _share(visitors[number], visitors[0]),
            "of_previous": _share(visitors[number], visitors[number - 1]) if number else None,
            "dropped": visitors[number] - visitors[number + 1]
            if number + 1 < len(visitors)
            else None,
            "median_seconds_to_next": medians.get(number + 1),
        }
        for number, event in enumerate(m.STEPS)
    ]


def _uplift(now: dict[int, int]) -> dict[str, Any]:
    """The others are told by subtraction: who saw the page or a result, less who saw a result."""
    tried = Group(now[m.RESULT], now[m.RESULT_CART])
    others = Group(
        now[m.PAGE_OR_RESULT] - now[m.RESULT], now[m.PAGE_CART_OR_RESULT] - now[m.RESULT]
    )
    uplift = Uplift(tried, others)
    low, high = uplift.interval or (None, None)
    return {
        "tried": {"visitors": tried.visitors, "added": tried.added, "rate": tried.rate},
        "others": {"visitors": others.visitors, "added": others.added, "rate": others.rate},
        "difference": uplift.difference,
        "low": low,
        "high": high,
        "words": uplift.words,
    }


def _days(connection: Connection, shop: Shop, period: Period) -> list[dict[str, Any]]:
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
            "day": (_EPOCH + timedelta(days=day)).isoformat(),
            "events": events.get(day, 0),
            "visitors": visitors.get(day, 0),
        }
        for day in range(first, end)
    ]


def _events(connection: Connection, shop: Shop, period: Period) -> int:
    first, end = period.bounds
    row = connection.execute(
        "SELECT coalesce(sum(number), 0)::bigint FROM report_cells WHERE shop_id = %s"
        " AND dimension = %s AND measure = %s AND previous >= %s AND previous < %s",
        [shop.id, m.EVENT, m.EVENTS, first, end],
    ).fetchone()
    return row[0] if row else 0


def _group_sizes(
    connection: Connection, shop: Shop, period: Period, dimension: int
) -> dict[int, int]:
    first, end = period.bounds
    return dict(
        connection.execute(
            "SELECT value_id, sum(number) FROM report_cells WHERE shop_id = %s AND dimension = %s"
            " AND measure = %s AND previous >= %s AND previous < %s AND day < %s"
            " GROUP BY value_id HAVING sum(number) > 0",
            [shop.id, dimension, m.ANY, first, end, end],
        ).fetchall()
    )


def _group_steps(
    connection: Connection, shop: Shop, period: Period, dimension: int, values: list[int]
) -> dict[int, list[int]]:
    first, end = period.bounds
    steps = {value: [0] * len(m.STEPS) for value in values}
    for value, measure, number in connection.execute(
        "SELECT value_id, measure, sum(number) FROM report_cells WHERE shop_id = %s"
        " AND dimension = %s AND measure = ANY(%s) AND value_id = ANY(%s)"
        " AND previous >= %s AND previous < %s AND day < %s GROUP BY value_id, measure",
        [shop.id, dimension, list(_STEP_MEASURES), values, first, end, end],
    ):
        steps[value][measure - m.STEP] = number
    return steps


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
