"""The numbers of a shop for a range of days, read from the counts. The page, the API, the CSV and
the terminal all show this one form."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from psycopg import Connection
from psycopg.rows import dict_row

from app.counts import reading
from app.counts.measures import (
    COUNTED,
    SIDE_MEASURES,
    SIDE_STEPS,
    STEP_MEASURES,
    STEPS,
    Measure,
)
from app.counts.period import Period, Shop
from app.counts.times import CLASSES, CLICK_TO_RESULT, PAGE_TO_CART
from app.merchant import words
from app.merchant.breakdown import breakdown
from app.merchant.groups import Choice, View, shown_choice
from app.merchant.language import ENGLISH, Language
from app.merchant.uplift import caveat, uplift_of
from app.store.figures import seconds_behind_primary

_BEHIND = timedelta(seconds=30)
SOON = 5 * 60  # s; who takes less is told apart
_SPANS = {
    PAGE_TO_CART: ("page_to_cart", STEPS[0], STEPS[6]),
    CLICK_TO_RESULT: ("click_to_result", STEPS[1], STEPS[4]),
}


def report(
    connection: Connection,
    shop: Shop,
    period: Period,
    by: str | View,
    language: Language = ENGLISH,
    only: Choice | None = None,
) -> dict[str, Any]:
    """Everything of a range, or of the events of one group in it. Shares are of 1, of visitors
    whose window is over, or None where there is nothing to divide by."""
    chosen = only and only.find(connection, shop.id)
    names = words.events(language)
    moments = reading.moments(connection, shop, period)
    visitors = reading.visitors(connection, shop, period, moments, chosen)
    now, before, over = visitors.now, visitors.before, visitors.over
    times = reading.times(connection, shop, period, chosen)
    days = reading.days(connection, shop, period, moments, visitors, chosen)
    return {
        "shop": shop.domain,
        "time_zone": shop.time_zone,
        "window_hours": shop.window_hours,
        "kept_before": kept_before(connection, shop),
        "only": only and shown_choice(connection, shop, only),
        "period": _days_of(period),
        "before": {
            **_days_of(moments.before),
            "until": moments.until
            and moments.until.astimezone(ZoneInfo(shop.time_zone)).isoformat(),
        },
        "visitors": {"now": now[Measure.VISITORS], "before": before[Measure.VISITORS]},
        "events": {
            "now": sum(day["events"] for day in days),
            "before": before[Measure.EVENTS]
            if chosen
            else reading.events_before(connection, shop, moments),
        },
        "saw_result": {"now": now[Measure.SAW_RESULT], "before": before[Measure.SAW_RESULT]},
        "waiting": now[Measure.PAGE_VIEWED] - over[Measure.PAGE_VIEWED],
        "funnel": _funnel(now, before, over, times.medians, names),
        "times": _times(times, language),
        "uplift": comparison(now, over, language, of_group=only is not None),
        "side_steps": [
            {
                "event": event,
                "name": names[event],
                "visitors": now[measure],
                "before": before[measure],
            }
            for event, measure in zip(SIDE_STEPS, SIDE_MEASURES, strict=True)
        ],
        "days": days,
        "hours": reading.hours(connection, shop, period.first)
        if period.first == period.last and not chosen
        else [],
        "breakdown": breakdown(
            connection, shop, period, moments, View(by) if isinstance(by, str) else by, language
        ),
    }


def freshness(
    connection: Connection, shop: Shop, *, oldest_waiting: float | None = None
) -> dict[str, Any]:
    """Until when everything is counted, and how many stored batches are not counted yet.

    `oldest_waiting` is the age in seconds of the oldest batch, of any shop, that the worker has
    still to store. A replica may lag behind what was counted.
    """
    row = connection.execute(
        "SELECT coalesce(sum(batches), 0), min(written_at),"
        " EXISTS (SELECT 1 FROM report_marks WHERE shop_id = %(id)s AND visitor IS NULL)"
        " OR EXISTS (SELECT 1 FROM report_recounts"
        "  WHERE shop_id = %(id)s AND definition <= %(counted)s)"
        " FROM report_news WHERE shop_id = %(id)s",
        {"id": shop.id, "counted": COUNTED},
    ).fetchone()
    waiting, since, is_recounting = row or (0, None, False)
    now = datetime.now(UTC)
    replayed = now - timedelta(seconds=seconds_behind_primary(connection))
    until = min(since or now, now - timedelta(seconds=oldest_waiting or 0), replayed)
    return {
        "until": until.astimezone(ZoneInfo(shop.time_zone)).isoformat(),
        "waiting": int(waiting),
        "is_behind": bool(waiting) or now - until > _BEHIND,
        "is_recounting": is_recounting,
    }


def kept_before(connection: Connection, shop: Shop) -> str | None:
    """The day before which a changed setting changes nothing, because events were deleted."""
    row = connection.execute(
        "SELECT date '1970-01-01' + before FROM report_kept WHERE shop_id = %s", [shop.id]
    ).fetchone()
    return row[0].isoformat() if row else None


def is_empty(connection: Connection, shop: Shop) -> bool:
    """Whether nothing of the shop was ever counted."""
    row = connection.execute(
        "SELECT 1 FROM report_counts WHERE shop_id = %s LIMIT 1", [shop.id]
    ).fetchone()
    return row is None


def rejected(connection: Connection, shop: Shop, *, limit: int = 20) -> list[dict[str, Any]]:
    """The last events that were rejected, newest first, and why."""
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(
            "SELECT received_at, code, details, left(payload, 300) AS payload"
            " FROM rejected_events WHERE shop_domain = %s ORDER BY received_at DESC LIMIT %s",
            [shop.domain, limit],
        ).fetchall()
    for row in rows:
        row["received_at"] = row["received_at"].astimezone(ZoneInfo(shop.time_zone))
    return rows


def _days_of(period: Period) -> dict[str, str]:
    return {"first": period.first.isoformat(), "last": period.last.isoformat()}


def _funnel(
    now: reading.Numbers,
    before: reading.Numbers,
    over: reading.Numbers,
    medians: dict[int, int],
    names: dict[str, str],
) -> list[dict[str, Any]]:
    visitors = [over[measure] for measure in STEP_MEASURES]
    return [
        {
            "step": number + 1,
            "event": event,
            "name": names[event],
            "visitors": now[STEP_MEASURES[number]],
            "over": visitors[number],
            "before": before[STEP_MEASURES[number]],
            "of_first": _share(visitors[number], visitors[0]),
            "of_previous": _share(visitors[number], visitors[number - 1]) if number else None,
            "dropped": visitors[number] - visitors[number + 1]
            if number + 1 < len(visitors)
            else None,
            "median_seconds_to_next": medians.get(number + 1),
        }
        for number, event in enumerate(STEPS)
    ]


def _times(times: reading.Times, language: Language) -> list[dict[str, Any]]:
    """Of all who got there so far, as the medians are; shares are of these."""
    names = words.spans(language)
    shown = []
    for span, (key, from_event, to_event) in _SPANS.items():
        classes = times.classes[span]
        visitors = sum(classes)
        soon = sum(classes[: CLASSES.index(SOON) + 1])
        shown.append(
            {
                "span": key,
                "name": names[key],
                "from": from_event,
                "to": to_event,
                "visitors": visitors,
                "median_seconds": times.spans.get(span),
                "within_5_minutes": _share(soon, visitors),
                "classes": [
                    {
                        "from_seconds": low,
                        "to_seconds": high,
                        "visitors": number,
                        "share": _share(number, visitors),
                    }
                    for low, high, number in zip(
                        (0, *CLASSES), (*CLASSES, None), classes, strict=True
                    )
                ],
            }
        )
    return shown


def comparison(
    now: reading.Numbers,
    over: reading.Numbers,
    language: Language = ENGLISH,
    *,
    of_group: bool = False,
) -> dict[str, Any]:
    """Of the visitors whose window is over (app.counts.visitor)."""
    uplift = uplift_of(over)
    tried, others = uplift.tried, uplift.others
    low, high = uplift.interval or (None, None)
    return {
        "tried": {
            "visitors": tried.visitors,
            "added": tried.added,
            "added_same": over[Measure.TRIED_ADDED_SAME],
            "rate": tried.rate,
        },
        "others": {"visitors": others.visitors, "added": others.added, "rate": others.rate},
        "waiting": now[Measure.EXPOSED] - over[Measure.EXPOSED],
        "difference": uplift.difference,
        "low": low,
        "high": high,
        "words": uplift.words(language),
        "caveat": caveat(language, of_group=of_group),
    }


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
