"""The numbers day by day and hour by hour, with the period before."""

import html
import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from app.counts.cut import events_after
from app.counts.period import Period, find_shop
from app.counts.plain import Plain
from app.counts.reading import hours
from app.merchant.reports import report
from tests.calls import SHOP
from tests.counts.histories import (
    ADDED,
    NOON,
    PAGE,
    RESULT,
    batch,
    count_all,
    midnight,
    store,
    visit,
)
from tests.merchant.conftest import save

DAYS = Period((NOON - timedelta(days=2)).date(), NOON.date())
_DAY = 24 * 60


@pytest.fixture
def shop(database):
    """Six days; each but the last has a visitor more, who all see a result; every second adds."""
    for day in range(5):
        for one in range(day + 1):
            steps = 7 if one % 2 else 5
            store(database, visit(f"v{day}-{one}", steps, minutes=(day - 5) * _DAY))
    store(database, batch("late", (RESULT, -_DAY), (ADDED, -_DAY + 30)))
    count_all(database)
    return find_shop(database, SHOP)


def test_each_day_stands_beside_its_day_of_the_period_before(database, shop):
    days = report(database, shop, DAYS, "product")["days"]
    assert [day["day"] for day in days] == ["2026-03-08", "2026-03-09", "2026-03-10"]
    assert [day["visitors"] for day in days] == [4, 6, 0]
    assert [day["before"]["day"] for day in days] == ["2026-03-05", "2026-03-06", "2026-03-07"]
    assert [day["before"]["visitors"] for day in days] == [1, 2, 3]
    assert [day["before"]["events"] for day in days] == [5, 12, 17]


def test_a_days_rate_is_that_of_a_plain_count_of_this_day(database, shop):
    days = report(database, shop, DAYS, "product")["days"]
    for day in [*days, *(day["before"] for day in days)]:
        alone = datetime.fromisoformat(day["day"]).date()
        tried, added, *_ = Plain(
            database, shop=SHOP, time_zone="UTC", window_hours=24, first=alone, last=alone
        ).uplift()
        assert day["rate"] == (added / tried if tried else None)


def test_a_day_has_no_rate_while_somebody_still_has_time(database):
    for days in (0, 1, 2):
        at = midnight(days)
        store(database, batch(f"v{days}", (PAGE, at), (RESULT, at), (ADDED, at)))
    count_all(database)
    today = find_shop(database, SHOP).today
    period = Period(today - timedelta(days=9), today)
    days = report(database, find_shop(database, SHOP), period, "product")["days"]
    assert [day["rate"] for day in days if day["visitors"]] == [1.0, None, None]


def test_one_day_is_shown_by_the_hour_of_its_zone(merchant, database):
    yesterday = datetime.now(UTC).replace(hour=12, minute=0) - timedelta(days=1)
    store(database, batch("a", (PAGE, yesterday), (RESULT, yesterday + timedelta(hours=2))))
    store(database, batch("b", (PAGE, yesterday - timedelta(days=1))))
    count_all(database)
    save(merchant, time_zone="Asia/Tokyo", window_hours=24)
    count_all(database)
    days = {"from": yesterday.date().isoformat(), "to": yesterday.date().isoformat()}
    hours = merchant("/app/api/report", **days).get_json()["report"]["hours"]
    assert {hour["hour"]: hour["events"] for hour in hours if hour["events"]} == {21: 1, 23: 1}
    assert {hour["hour"]: hour["before"] for hour in hours if hour["before"]} == {21: 1}
    assert "Events per hour" in merchant("/app", **days).text
    assert merchant("/app/api/report", range="7").get_json()["report"]["hours"] == []


# The last two days are those on which clocks go back, by half an hour at two and at one.
@pytest.mark.parametrize(
    ("zone", "day"),
    [
        ("Asia/Kathmandu", date(2025, 11, 8)),
        ("Australia/Lord_Howe", date(2025, 4, 6)),
        ("America/Havana", date(2025, 11, 2)),
    ],
)
def test_an_hour_begins_and_ends_with_the_clock_of_its_zone(database, zone, day):
    of_zone = ZoneInfo(zone)
    begin = datetime(day.year, day.month, day.day, tzinfo=of_zone).astimezone(UTC)
    seconds = (-1, 0, 1, 899, 900, 3_599, 3_600, 5_400, 7_199, 7_200, 7_201, 86_399, 86_400)
    moments = [begin + timedelta(seconds=after) for after in seconds]
    store(database, *(batch(f"v{n}", (PAGE, at)) for n, at in enumerate(moments)))
    shop = replace(find_shop(database, SHOP), time_zone=zone)
    told = hours(database, shop, day)
    local = [at.astimezone(of_zone) for at in moments]
    assert {hour["hour"]: hour["events"] for hour in told if hour["events"]} == Counter(
        at.hour for at in local if at.date() == day
    )
    assert {hour["hour"]: hour["before"] for hour in told if hour["before"]} == {23: 1}
    cut_at = moments[3]
    later = [at for at in moments if at > cut_at and at.astimezone(of_zone).date() == day]
    assert events_after(database, shop, day, cut_at) == len(later)


def test_hours_that_have_not_begun_are_unknown(database, shop):
    today = Period(shop.today, shop.today)
    hours = report(database, shop, today, "product")["hours"]
    assert [hour["events"] for hour in hours] == [0] * (shop.now.hour + 1) + [None] * (
        23 - shop.now.hour
    )


def points(page):
    found = re.findall(r'data-points="([^"]*)"', page)
    return [html.unescape(points).split("\n") for points in found]


def test_each_point_of_a_curve_is_there_in_words(merchant, shop):
    days = {"from": DAYS.first.isoformat(), "to": DAYS.last.isoformat()}
    rate, visitors, events, *_ = points(merchant("/app", **days).text)
    assert rate[0] == "Mar 8, 2026: 50.0% (this period), 0.0% (the period before)"
    assert visitors[1] == "Mar 9, 2026: 6 (this period), 2 (the period before)"
    assert len(events) == 3
    german = points(merchant("/app", locale="de", **days).text)
    assert german[0][0] == "08.03.2026: 50,0\xa0% (dieser Zeitraum), 0,0\xa0% (der Zeitraum davor)"
