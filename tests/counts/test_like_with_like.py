"""What is set beside something else was counted over the same hours, and had the same time."""

from dataclasses import replace
from datetime import date, timedelta

import pytest

from app.counts import cut
from app.counts.period import Period, find_shop
from app.merchant.commands import numbers_of, plain_numbers
from app.merchant.reports import report
from tests.calls import SHOP
from tests.counts.histories import (
    ADDED,
    BUTTON,
    CART_ADD,
    NOON,
    PAGE,
    RESULT,
    START,
    UPLOAD,
    batch,
    count_all,
    moment,
    store,
    visit,
)

HOURS = 60
TODAY = NOON.date()


@pytest.fixture
def counted(database):
    """The report of a range as it is seen at some minutes after NOON."""

    def counted(*batches, now, first=TODAY, last=TODAY):
        store(database, *batches)
        count_all(database)
        shop = replace(find_shop(database, SHOP), now=moment(now), today=moment(now).date())
        period = Period(first, last)
        shown = report(database, shop, period, "product")
        assert numbers_of(shown) == plain_numbers(database, shop, period)
        return shown

    return counted


def yesterday(minutes):
    return minutes - 24 * HOURS


def test_today_is_set_against_the_same_hours_of_yesterday(counted):
    shown = counted(
        visit("morning", 1, minutes=yesterday(-60)),
        visit("evening", 3, minutes=yesterday(60)),
        visit("both", 1, minutes=yesterday(-30)),
        visit("both", 2, minutes=yesterday(90)),
        visit("a", 2, minutes=-5),
        now=0,
    )
    assert shown["visitors"] == {"now": 1, "before": 2}
    assert shown["events"] == {"now": 2, "before": 2}
    assert [step["before"] for step in shown["funnel"]][:3] == [2, 0, 0]
    assert shown["before"] == {
        "first": "2026-03-09", "last": "2026-03-09", "until": "2026-03-09T12:00:00+00:00"
    }  # fmt: skip


def test_the_same_hours_end_at_this_second(counted):
    shown = counted(
        visit("now", 1, minutes=yesterday(0)),
        visit("half a second later", 1, minutes=yesterday(1 / 120)),
        now=0,
    )
    assert shown["visitors"]["before"] == shown["events"]["before"] == 1


def test_a_step_that_was_done_later_than_this_hour_is_not_in_the_period_before(counted):
    shown = counted(
        batch("a", (PAGE, yesterday(-10)), (BUTTON, yesterday(-5)), (UPLOAD, yesterday(5))), now=0
    )
    assert [step["before"] for step in shown["funnel"]][:3] == [1, 1, 0]


def test_a_range_that_is_over_is_set_against_whole_days(counted):
    shown = counted(
        visit("evening", 1, minutes=yesterday(11 * HOURS)), visit("a", 1), now=30 * HOURS
    )
    assert shown["visitors"] == {"now": 1, "before": 1}
    assert shown["before"]["until"] is None


def test_of_a_range_with_days_to_come_those_up_to_today_are_compared(counted):
    shown = counted(
        *(visit(f"v{day}", 1, minutes=-24 * HOURS * day) for day in range(9)),
        now=1,
        first=TODAY - timedelta(days=1),
        last=TODAY + timedelta(days=2),
    )
    assert shown["visitors"] == {"now": 2, "before": 2}
    assert (shown["before"]["first"], shown["before"]["last"]) == ("2026-03-05", "2026-03-06")


def test_rates_are_of_those_whose_window_is_over_and_the_others_are_told(counted):
    shown = counted(
        visit("over", 3, minutes=-25 * HOURS),
        visit("over too", 1, minutes=-24 * HOURS),
        visit("waits", 1, minutes=-23 * HOURS),
        visit("waits too", 5, minutes=-10),
        first=TODAY - timedelta(days=2),
        now=0,
    )
    assert [step["visitors"] for step in shown["funnel"]][:4] == [4, 2, 2, 1]
    assert [step["over"] for step in shown["funnel"]][:4] == [2, 1, 1, 0]
    assert shown["funnel"][1]["of_first"] == 0.5
    assert shown["funnel"][0]["dropped"] == 1
    assert shown["waiting"] == 2
    assert shown["uplift"]["waiting"] == 2
    assert shown["uplift"]["others"] == {"visitors": 2, "added": 0, "rate": 0}


def test_nobody_of_today_has_had_24_hours(counted):
    shown = counted(visit("a", 7, minutes=-30), now=0)
    assert shown["waiting"] == 1
    assert [step["of_first"] for step in shown["funnel"]] == [None] * 7
    assert shown["uplift"]["tried"]["rate"] is None


def test_who_has_seen_a_result_an_hour_ago_has_not_had_their_time_to_add(counted):
    shown = counted(
        batch("a", (PAGE, -30 * HOURS), (RESULT, -HOURS)),
        batch("b", (PAGE, -26 * HOURS), (RESULT, -25 * HOURS), (ADDED, -HOURS)),
        batch("c", (PAGE, -25 * HOURS), (RESULT, -23 * HOURS), (CART_ADD, -22 * HOURS)),
        first=TODAY - timedelta(days=3),
        now=0,
    )
    uplift = shown["uplift"]
    assert (uplift["tried"]["visitors"], uplift["tried"]["added"]) == (1, 1)
    assert uplift["others"] == {"visitors": 2, "added": 0, "rate": 0}


def test_who_keeps_their_photo_is_not_lost_at_that_step(counted):
    shown = counted(
        batch("new photo", (PAGE, 0), (BUTTON, 1), (UPLOAD, 3), (START, 4), (RESULT, 5)),
        batch("kept photo", (PAGE, 0), (BUTTON, 1), (START, 2), (RESULT, 3)),
        batch("no button", (PAGE, 0), (START, 2), (RESULT, 3)),
        now=48 * HOURS,
    )
    assert [step["visitors"] for step in shown["funnel"]][:5] == [3, 2, 2, 2, 2]
    # A photo that was kept has no time, neither to it nor from it.
    medians = [step["median_seconds_to_next"] for step in shown["funnel"]]
    assert medians[1:4] == [120, 60, 60]


@pytest.mark.parametrize(
    ("events", "medians"),
    [
        ([(PAGE, 0), (BUTTON, 1), (PAGE, 300), (BUTTON, 301), (UPLOAD, 302)], [60, 60]),
        ([(PAGE, 0), (PAGE, 300), (BUTTON, 301)], [60, None]),
        ([(PAGE, 0), (BUTTON, 1), (BUTTON, 5), (UPLOAD, 6)], [60, 300]),
        ([(PAGE, 0), (BUTTON, 1), (PAGE, 5), (UPLOAD, 6)], [60, 300]),
    ],
)
def test_a_time_is_within_the_attempt_that_got_there(counted, events, medians):
    shown = counted(batch("a", *events), now=48 * HOURS)
    assert [step["median_seconds_to_next"] for step in shown["funnel"]][:2] == medians


def test_the_hours_are_those_of_the_shops_clock_where_it_was_put_forward(database):
    store(database, batch("a", (PAGE, moment(0).replace(day=28, hour=10, minute=30))))
    [shop_id] = database.execute("SELECT id FROM shops").fetchone()
    database.execute(
        "INSERT INTO report_shops (shop_id, time_zone) VALUES (%s, 'Europe/Berlin')", [shop_id]
    )
    count_all(database)
    for hour, before in ((9, 0), (10, 1)):  # UTC; at 10:30 UTC of the 28th it was 11:30, not 12:30
        now = moment(0).replace(day=29, hour=hour)
        shop = replace(find_shop(database, SHOP), now=now, today=date(2026, 3, 29))
        shown = report(database, shop, Period(shop.today, shop.today), "product")
        assert shown["visitors"]["before"] == before


def test_many_visitors_are_looked_at_once_and_only_the_newest_again(counted, monkeypatch):
    monkeypatch.setattr(cut, "_MANY", 3)
    monkeypatch.setattr(cut, "_known", {})
    evening = [visit(f"v{n}", n % 7 + 1, minutes=yesterday(n)) for n in range(1, 30)]
    both = [visit(f"v{n}", 7, minutes=yesterday(-24 * HOURS)) for n in range(10)]
    shown = counted(*evening, *both, visit("a", 1, minutes=-5), now=1, first=TODAY)
    assert shown["visitors"]["before"] == 1
    asked = []
    read = cut.journeys.read
    monkeypatch.setattr(
        cut.journeys, "read", lambda _, wanted: asked.append(len(wanted)) or read(_, wanted)
    )
    for now, before in ((6, 6), (12, 12), (1, 1)):
        shown = counted(now=now)
        assert shown["visitors"]["before"] == before
    *later, earlier = asked
    assert max(later) < 10
    assert earlier == 29  # before the moment that is remembered
