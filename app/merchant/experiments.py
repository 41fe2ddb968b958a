"""A shop's experiment: started, stopped, and read with its numbers. The page, the API, the CSV and
the terminal all show this one form."""

import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from psycopg import Connection

from app.counts import experiment_sums as counts
from app.counts import reading
from app.counts.measures import Measure
from app.counts.only import Only
from app.counts.period import EPOCH, Period, Shop
from app.counts.plain import Plain
from app.counts.rollups import mark_dirty
from app.merchant.groups import Choice
from app.merchant.language import ENGLISH, Language
from app.merchant.statistics import Arm, detectable, difference_interval, ratio_interval
from app.merchant.verdict import FEWEST_ADDS, Forecast, Numbers, checks, verdict
from app.replies import Detail, Refusal

SHARES = range(1, 51)  # percent that may be held back
SHOWN_SHARES = (5, 10, 20, 50)  # in the plan
PLANNED_DAYS = (14, 28, 56, 90, 180, 365)
_MOST = 10  # experiments of a shop; the oldest goes
_TRAFFIC_DAYS = 28  # before today, by which the plan is made
_SOON = timedelta(days=7)  # the next look that is worth announcing is so far away
_SALT = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True)
class Experiment:
    id: int
    share: int  # percent
    salt: str
    start: datetime
    end: datetime | None

    def is_running(self, now: datetime) -> bool:
        return self.end is None or now < self.end


@dataclass(frozen=True)
class Traffic:
    """New visitors with a product page in a day, and the share of them who add to the cart."""

    daily: float
    rate: float


def start(
    connection: Connection,
    domain: str,
    *,
    share: object,
    begins: object = None,
    ends: object = None,
    salt: object = None,
) -> Experiment:
    """In the caller's transaction. `begins`, `ends` in ISO 8601 with an offset, by default now and
    never. What runs with another share ends where this one begins; with the same one it goes on,
    unless more is asked for. Refusal."""
    now = datetime.now(UTC)
    details: list[Detail] = []
    if type(share) is not int or share not in SHARES:
        details.append({"path": "share", "message": "must be a whole number of percent, 1 to 50"})
    first = _moment("start", begins, details) or now
    end = _moment("end", ends, details)
    if end and end <= max(first, now):
        details.append({"path": "end", "message": "must be after the start and after now"})
    if salt is not None and not (isinstance(salt, str) and _SALT.fullmatch(salt)):
        message = "must have 1 to 64 letters, digits, hyphens or underscores"
        details.append({"path": "salt", "message": message})
    _refuse(details)
    shop_id = _shop_id(connection, domain)
    running = next((one for one in read(connection, shop_id) if one.is_running(now)), None)
    if running and running.share == share and begins is ends is salt is None:
        return running
    if running and running.start <= now and not running.start < first <= now:
        message = "must be after that of the experiment that runs, and not in the future"
        _refuse([{"path": "start", "message": message}])
    if running:
        _end(connection, running, first)
    [row] = connection.execute(
        "INSERT INTO experiments (shop_id, share, salt, starts_at, ends_at)"
        " VALUES (%s, %s, %s, %s, %s) RETURNING id, share, salt, starts_at, ends_at",
        [shop_id, share, salt or secrets.token_hex(8), first, end],
    )
    for old in read(connection, shop_id)[_MOST:]:
        _delete(connection, old)
    _have_counted(connection, shop_id)
    return Experiment(*row)


def stop(connection: Connection, domain: str) -> Experiment | None:
    """In the caller's transaction. What has ended; None where nothing ran, or had begun."""
    now = datetime.now(UTC)
    shop_id = _shop_id(connection, domain)
    for running in read(connection, shop_id):
        if running.is_running(now):
            _end(connection, running, now)
            _have_counted(connection, shop_id)
            return next((one for one in read(connection, shop_id) if one.id == running.id), None)
    return None


def read(connection: Connection, shop_id: int) -> list[Experiment]:
    """The newest first."""
    rows = connection.execute(
        "SELECT id, share, salt, starts_at, ends_at FROM experiments WHERE shop_id = %s"
        " ORDER BY id DESC",
        [shop_id],
    )
    return [Experiment(*row) for row in rows.fetchall()]


def show(
    connection: Connection,
    shop: Shop,
    *,
    share: int | None = None,
    now: datetime | None = None,
    language: Language = ENGLISH,
    only: Choice | None = None,
) -> dict[str, Any]:
    """The latest experiment, those before it, and what could be seen, also with this `share`.
    `only` is of the visitors' first product page; a version is of everybody."""
    now = now or datetime.now(UTC)
    before = traffic(connection, shop)
    of = _of(connection, shop, only)
    found = [
        _shown(connection, shop, one, before, now, language, of)
        for one in read(connection, shop.id)
    ]
    return {
        "only": of and only and {"by": only.by, "value": only.value},
        "experiment": found[0] if found else None,
        "earlier": [{key: value for key, value in one.items() if key != "days"}
                    for one in found[1:]],
        "plan": _plan(before, sorted({*SHOWN_SHARES, *([share] if share else [])}), shop),
    }  # fmt: skip


def _of(connection: Connection, shop: Shop, only: Choice | None) -> Only | None:
    found = only and only.find(connection, shop.id)
    return found if found and found.dimension in counts.GROUPS else None


def traffic(connection: Connection, shop: Shop) -> Traffic | None:
    """Of the last days. None where nobody came, or nobody added."""
    yesterday = shop.today - timedelta(days=1)
    period = Period(shop.today - timedelta(days=_TRAFFIC_DAYS), yesterday)
    found, first_day = reading.totals(connection, shop, period)
    visitors = found[Measure.PAGE_VIEWED]
    added = found[Measure.TRIED_ADDED] + found[Measure.UNTRIED_ADDED]
    if not visitors or not added or first_day is None:
        return None
    days = period.bounds[1] - first_day
    return Traffic(visitors / days, min(1.0, added / visitors))


def days(shown: dict[str, Any]) -> Iterator[tuple[object, ...]]:
    """The daily sums of the latest experiment, as rows for a CSV."""
    columns = ("day", "arm", "visitors", "waiting", "added", "saw_widget")
    yield columns
    for day in (shown["experiment"] or {"days": []})["days"]:
        yield tuple(day[column] for column in columns)


def numbers(connection: Connection, shop: Shop, only: Choice | None = None) -> dict[str, object]:
    """The days of each experiment, as `plain_numbers` has them."""
    of = _of(connection, shop, only)
    return {
        _name(one): [
            tuple(day)
            for day in counts.days(connection, shop.id, one.id, shop.window_hours, only=of)
        ]
        for one in read(connection, shop.id)
    }


def plain_numbers(
    connection: Connection, shop: Shop, only: Choice | None = None
) -> dict[str, object]:
    """The same counted the plain way. In the same transaction: both end at its time."""
    [(now,)] = connection.execute("SELECT now()").fetchall()
    of = only if _of(connection, shop, only) else None
    return {
        _name(one): Plain(
            connection,
            shop=shop.domain,
            time_zone=shop.time_zone,
            window_hours=shop.window_hours,
            first=one.start.date() - timedelta(days=1),
            last=shop.today + timedelta(days=1),
        ).experiment(one.salt, one.share, one.start, one.end, now, of)
        for one in read(connection, shop.id)
    }


def _name(experiment: Experiment) -> str:
    return f"experiment {experiment.id}"


def in_both_arms(
    experiment: Experiment, sums: Sequence[counts.Day] | Sequence[counts.Sums], now: datetime
) -> Numbers:
    """Added up, with how long it has run."""
    arms = {}
    for is_held_back in (False, True):
        of_arm = [one for one in sums if one.is_held_back == is_held_back]
        waiting = sum(one.waiting for one in of_arm)
        over = sum(one.visitors for one in of_arm) - waiting
        added = sum(one.added for one in of_arm)
        arms[is_held_back] = Arm(over, added), waiting, sum(one.saw_widget for one in of_arm)
    (widget, widget_waiting, _), (holdout, holdout_waiting, saw_widget) = arms[False], arms[True]
    return Numbers(
        share=experiment.share / 100,
        widget=widget,
        holdout=holdout,
        widget_waiting=widget_waiting,
        holdout_waiting=holdout_waiting,
        saw_widget=saw_widget,
        days=max(timedelta(), min(now, experiment.end or now) - experiment.start),
        is_running=experiment.is_running(now),
    )


def _shown(
    connection: Connection,
    shop: Shop,
    experiment: Experiment,
    before: Traffic | None,
    now: datetime,
    language: Language,
    only: Only | None,
) -> dict[str, Any]:
    of_days = list(counts.days(connection, shop.id, experiment.id, shop.window_hours, now, only))
    numbers = in_both_arms(experiment, of_days, now)
    widget, holdout = numbers.widget, numbers.holdout
    forecast = None
    if experiment.is_running(now):
        forecast = _forecast(experiment, numbers, before, shop, now)
    zone = ZoneInfo(shop.time_zone)
    kind, words = verdict(numbers, forecast, shop.today, language)
    difference = None
    if widget.rate is not None and holdout.rate is not None:
        difference = widget.rate - holdout.rate
    ratio = widget.rate / holdout.rate if widget.rate is not None and holdout.rate else None
    return {
        "id": experiment.id,
        "share": experiment.share,
        "salt": experiment.salt,
        "start": experiment.start.astimezone(zone).isoformat(),
        "end": experiment.end and experiment.end.astimezone(zone).isoformat(),
        "is_running": experiment.is_running(now),
        "window_hours": shop.window_hours,
        "verdict": kind,
        "answer": words,
        "widget": arm(widget, numbers.widget_waiting),
        "holdout": {**arm(holdout, numbers.holdout_waiting), "saw_widget": numbers.saw_widget},
        "difference": _with_interval(difference, difference_interval(widget, holdout)),
        "ratio": _with_interval(ratio, ratio_interval(widget, holdout)),
        "checks": checks(numbers, language),
        "forecast": forecast
        and {"difference": forecast.difference, "by": forecast.by and forecast.by.isoformat()},
        "days": [
            {
                "day": (EPOCH + timedelta(days=day.day)).isoformat(),
                "arm": "holdout" if day.is_held_back else "widget",
                "visitors": day.visitors,
                "waiting": day.waiting,
                "added": day.added,
                "saw_widget": day.saw_widget,
            }
            for day in of_days
        ],
    }


def _forecast(
    experiment: Experiment, numbers: Numbers, before: Traffic | None, shop: Shop, now: datetime
) -> Forecast:
    """The next look by which a difference would show, at the experiment's own traffic."""
    everybody = numbers.everybody
    elapsed = numbers.days / timedelta(days=1)
    holdout = numbers.holdout
    enough = holdout.added >= FEWEST_ADDS
    rate = holdout.rate if enough and holdout.rate is not None else numbers.pooled_rate
    if elapsed >= 1 and everybody and rate:
        now_on = Traffic(everybody / elapsed, rate)
    elif before:
        now_on = before
    else:
        return Forecast(None, None)
    for length in PLANNED_DAYS:
        by = experiment.start + timedelta(days=length)
        if by < now + _SOON or (experiment.end and by > experiment.end):
            continue
        remaining = (by - max(now, experiment.start)) / timedelta(days=1) - shop.window_hours / 24
        then = everybody + now_on.daily * remaining
        if (found := detectable(max(0.0, then), numbers.share, now_on.rate)) is not None:
            return Forecast(found, by.astimezone(ZoneInfo(shop.time_zone)).date())
    return Forecast(None, None)


def _plan(before: Traffic | None, shares: list[int], shop: Shop) -> dict[str, Any]:
    if before is None:
        return {"visitors_per_day": None, "rate": None, "shares": []}
    return {
        "visitors_per_day": before.daily,
        "rate": before.rate,
        "shares": [
            {
                "share": share,
                "shows": [
                    {
                        "days": length,
                        "by": (shop.today + timedelta(days=length)).isoformat(),
                        "difference": detectable(
                            before.daily * (length - shop.window_hours / 24),
                            share / 100,
                            before.rate,
                        ),
                    }
                    for length in PLANNED_DAYS
                ],
            }
            for share in shares
        ],
    }


def arm(of: Arm, waiting: int) -> dict[str, Any]:
    return {"visitors": of.visitors, "waiting": waiting, "added": of.added, "rate": of.rate}


def _with_interval(
    value: float | None, interval: tuple[float, float] | None
) -> dict[str, float] | None:
    if value is None or interval is None:
        return None
    return {"value": value, "low": interval[0], "high": interval[1]}


def _moment(name: str, sent: object, details: list[Detail]) -> datetime | None:
    if sent is None:
        return None
    try:
        moment = datetime.fromisoformat(sent) if isinstance(sent, str) else None
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None or not 2000 <= moment.year < 2200:
        details.append(
            {"path": name, "message": "must be a time such as 2026-12-01T00:00:00+01:00"}
        )
        return None
    return moment


def _refuse(details: list[Detail]) -> None:
    if details:
        message = f"{details[0]['path']} {details[0]['message']}."
        raise Refusal(400, "VALIDATION_FAILED", message, details=details)


def _shop_id(connection: Connection, domain: str) -> int:
    connection.execute("INSERT INTO shops (domain) VALUES (%s) ON CONFLICT DO NOTHING", [domain])
    # Two requests at once start one experiment after the other.
    [(shop_id,)] = connection.execute("SELECT id FROM shops WHERE domain = %s FOR UPDATE", [domain])
    return int(shop_id)


def _end(connection: Connection, experiment: Experiment, at: datetime) -> None:
    if experiment.start >= at:  # it never ran
        _delete(connection, experiment)
    else:
        connection.execute("UPDATE experiments SET ends_at = %s WHERE id = %s", [at, experiment.id])


def _delete(connection: Connection, experiment: Experiment) -> None:
    connection.execute("DELETE FROM experiment_visitors WHERE experiment_id = %s", [experiment.id])
    connection.execute("DELETE FROM experiment_days WHERE experiment_id = %s", [experiment.id])
    connection.execute("DELETE FROM experiment_groups WHERE experiment_id = %s", [experiment.id])
    connection.execute("DELETE FROM experiments WHERE id = %s", [experiment.id])


def _have_counted(connection: Connection, shop_id: int) -> None:
    """By the worker, with whoever came in between; the mark is nobody's."""
    mark_dirty(connection, shop_id, [""])
