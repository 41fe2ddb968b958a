"""The day of a moment, in any time zone."""

from datetime import UTC, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

import pytest

from app.counts import calendar

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY = 24 * 60 * 60
SECOND = 1_000_000
# With a midnight that comes twice or never, with days that begin off a quarter of an hour (before
# 1972), west and east of both ends of the world.
ZONES = [
    "UTC",
    "Europe/Berlin",
    "Asia/Beirut",
    "Asia/Kathmandu",
    "America/Havana",
    "Africa/Monrovia",
    "Pacific/Apia",
    "Pacific/Kiritimati",
]


def day_of(at, zone):
    """By another library's calendar; µs since 1970."""
    moment = (EPOCH + timedelta(seconds=at // SECOND)).astimezone(ZoneInfo(zone))
    return moment.date().toordinal() - EPOCH.toordinal()


@pytest.fixture
def nothing_known(monkeypatch):
    monkeypatch.setattr(calendar, "_known", {})


def midnights(zone, days):
    for day in days:
        local = datetime(1970, 1, 1, tzinfo=ZoneInfo(zone)) + timedelta(days=day)
        yield round((local.astimezone(UTC) - EPOCH).total_seconds())


@pytest.mark.parametrize("zone", ZONES)
def test_it_is_that_of_the_clock_there_to_the_second(database, nothing_known, zone):
    random = Random(5)
    days = [*range(-400, 1_000, 97), *range(20_500, 20_900, 3), *range(15_330, 15_345)]
    moments = {
        second * SECOND + random.randrange(SECOND)
        for midnight in midnights(zone, days)
        for second in (midnight - 3_601, midnight - 1, midnight, midnight + 3_599,
                       midnight + random.randrange(DAY))
    }  # fmt: skip
    expected = {at: day_of(at, zone) for at in moments}
    assert calendar.days(database, zone, moments) == expected
    assert calendar.days(database, zone, moments) == expected  # and from what is remembered


def test_what_is_known_of_one_zone_is_not_taken_for_another(database, nothing_known):
    at = 20_000 * DAY * SECOND + 12 * 3_600 * SECOND
    assert calendar.days(database, "Pacific/Kiritimati", [at]) == {at: 20_001}
    assert calendar.days(database, "America/Havana", [at]) == {at: 20_000}


def test_a_quarter_is_asked_for_once_and_forgotten_beyond_the_most(
    database, nothing_known, monkeypatch
):
    asked = []
    ask = calendar._ask
    monkeypatch.setattr(calendar, "_ask", lambda *given: asked.append(len(given[2])) or ask(*given))
    monkeypatch.setattr(calendar, "_MOST_KNOWN", 2)
    noon = 20_000 * DAY + 12 * 3_600
    quarters = [[(noon + 900 * number) * SECOND] for number in range(3)]
    for moments in (quarters[0], quarters[0], quarters[1], quarters[2]):
        calendar.days(database, "Europe/Berlin", moments)
    assert [number for number in asked if number] == [2, 2, 2]
    calendar.days(database, "Europe/Berlin", quarters[2])  # three were known: all are forgotten
    assert [number for number in asked if number] == [2, 2, 2, 2]
    assert len(calendar._known) == 1
