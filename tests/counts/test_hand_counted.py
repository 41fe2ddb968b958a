"""Histories that can be counted by hand."""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from app.counts.period import Period, find_shop
from app.counts.rollups import mark_dirty, rebuild
from app.merchant.reports import freshness, report
from tests.calls import SHOP
from tests.counts.histories import (
    ADDED,
    BUTTON,
    CART_ADD,
    NOON,
    PAGE,
    RESULT,
    UPLOAD,
    batch,
    count_all,
    store,
    visit,
)

DAY = NOON.date()
ONE_DAY = Period(DAY, DAY)


def counted(database, *batches, period=ONE_DAY, by="product"):
    store(database, *batches)
    count_all(database)
    return report(database, find_shop(database, SHOP), period, by)


def visitors(report):
    return [step["visitors"] for step in report["funnel"]]


def test_each_step_has_those_who_did_all_before_it(database):
    shown = counted(database, *(visit(f"v{steps}", steps) for steps in range(1, 8)))
    assert visitors(shown) == [7, 6, 5, 4, 3, 2, 1]
    third = shown["funnel"][2]
    assert (third["of_first"], third["of_previous"], third["dropped"]) == (5 / 7, 5 / 6, 1)
    assert third["median_seconds_to_next"] == 60


@pytest.mark.parametrize(
    ("minutes", "seconds"),
    [([1, 3], 120), ([1, 2, 9], 120), ([2, 1, 2, 900], 120), ([1, 900], 27_030), ([0, 0], 0)],
)
def test_the_median_of_an_even_number_is_between_the_two_in_the_middle(database, minutes, seconds):
    visits = [batch(f"v{n}", (PAGE, 0), (BUTTON, after)) for n, after in enumerate(minutes)]
    assert counted(database, *visits)["funnel"][0]["median_seconds_to_next"] == seconds


def test_a_time_is_that_of_the_first_day_in_the_range_with_the_step(database):
    next_day = 24 * 60
    shown = counted(
        database,
        batch("a", (PAGE, 0), (BUTTON, 9)),
        batch("a", (PAGE, next_day), (BUTTON, next_day + 1)),
        batch("b", (PAGE, 0), (BUTTON, 5)),
        period=Period(DAY, DAY + timedelta(days=1)),
    )
    assert shown["funnel"][0]["median_seconds_to_next"] == 7 * 60


def test_a_visitor_who_comes_again_counts_once_with_the_best_attempt(database):
    days = 24 * 60
    shown = counted(
        database,
        visit("a", 2),
        visit("a", 7, minutes=3 * days),
        visit("a", 1, minutes=5 * days),
        period=Period(DAY, DAY + timedelta(days=6)),
    )
    assert visitors(shown) == [1] * 7
    assert shown["visitors"] == {"now": 1, "before": 0}


@pytest.mark.parametrize(("minutes", "reached"), [(24 * 60, 1), (24 * 60 + 1, 0)])
def test_a_step_counts_up_to_the_end_of_the_window(database, minutes, reached):
    shown = counted(database, batch("a", (PAGE, 0), (BUTTON, minutes)))
    assert visitors(shown)[:2] == [1, reached]


def test_a_step_before_the_one_before_it_does_not_count(database):
    shown = counted(database, batch("a", (BUTTON, 0), (PAGE, 1), (UPLOAD, 2)))
    assert visitors(shown)[:3] == [1, 0, 0]


def test_steps_at_the_same_moment_are_in_their_order(database):
    assert visitors(counted(database, batch("a", (UPLOAD, 0), (BUTTON, 0), (PAGE, 0))))[2] == 1


def test_without_a_client_id_the_session_is_the_visitor_and_without_both_nobody(database):
    shown = counted(
        database,
        batch(None, (PAGE, 0), session_id="s"),
        batch(None, (BUTTON, 1), session_id="s"),
        batch(None, (PAGE, 2)),
        batch("", (PAGE, 3), session_id=""),
    )
    assert visitors(shown)[:2] == [1, 1]
    [day] = shown["days"]
    assert (day["day"], day["events"], day["visitors"]) == (DAY.isoformat(), 4, 1)


def test_days_are_those_of_the_shops_time_zone(database):
    late = datetime(2026, 3, 10, 23, 30, tzinfo=ZoneInfo("UTC"))
    store(database, batch("a", (PAGE, late)))
    [shop_id] = database.execute("SELECT id FROM shops").fetchone()
    database.execute(
        "INSERT INTO report_shops (shop_id, time_zone) VALUES (%s, 'Europe/Berlin')", [shop_id]
    )
    shown = counted(database, batch("b", (PAGE, 0)), period=Period(DAY, date(2026, 3, 11)))
    assert [day["visitors"] for day in shown["days"]] == [1, 1]


def test_the_uplift_compares_who_saw_a_result_with_who_did_not(database):
    shown = counted(
        database,
        batch("tried, added", (PAGE, 0), (RESULT, 1), (ADDED, 2)),
        batch("tried, added on the page", (PAGE, 0), (RESULT, 1), (CART_ADD, 2)),
        batch("tried, added before", (PAGE, 0), (CART_ADD, 1), (RESULT, 2)),
        batch("looked, added", (PAGE, 0), (CART_ADD, 1)),
        batch("looked", (PAGE, 0)),
        batch("added without looking", (CART_ADD, 0)),
    )["uplift"]
    assert shown["tried"] == {"visitors": 2, "added": 2, "added_same": 2, "rate": 1}
    assert shown["others"] == {"visitors": 3, "added": 2, "rate": 2 / 3}
    assert "Too few" in shown["words"]


def test_groups_beyond_the_largest_are_folded(database):
    batches = [
        visit(f"v{number}-{visitor}", 2, product_id=f"p{number}")
        for number in range(12)
        for visitor in range(1 if number < 2 else 2)
    ]
    breakdown = counted(database, *batches)["breakdown"]
    assert {group["visitors"] for group in breakdown["groups"]} == {2}
    assert breakdown["folded"] == {"groups": 2, "visitors": 2, "steps": [2, 2, 0, 0, 0, 0, 0]}


def test_devices_and_languages_are_told_from_the_context(database):
    german = b'{"$browser_language": "de-AT"}'
    store(database, visit("a", 1, rest=german, device_class="mobile"), visit("b", 1))
    count_all(database)
    shop = find_shop(database, SHOP)
    device = report(database, shop, ONE_DAY, "device")["breakdown"]["groups"]
    language = report(database, shop, ONE_DAY, "language")["breakdown"]["groups"]
    assert {group["value"] for group in device} == {"mobile", ""}
    assert {group["value"] for group in language} == {"de", ""}


def test_what_is_stored_and_not_counted_yet_is_told(database):
    store(database, visit("a", 1), visit("b", 1))
    shop = find_shop(database, SHOP)
    assert freshness(database, shop)["waiting"] == 2
    count_all(database)
    assert freshness(database, shop)["waiting"] == 0


def test_an_erased_visitor_leaves_the_numbers_and_the_journeys(database):
    store(database, visit("a", 3), visit("b", 7))
    count_all(database)
    shop = find_shop(database, SHOP)
    with database.transaction():
        database.execute(
            "DELETE FROM stored_batches WHERE (shop_id, id) IN"
            " (SELECT shop_id, id FROM batches WHERE client_id = 'a')"
        )
        mark_dirty(database, shop.id, ["a"])
    count_all(database)
    assert visitors(report(database, shop, ONE_DAY, "product")) == [1] * 7
    assert database.execute("SELECT count(*) FROM report_visitors").fetchone() == (1,)


def test_a_rebuild_tells_its_progress(database):
    store(database, visit("a", 3), visit("b", 7), batch(None, (PAGE, 0)))
    steps = []
    rebuild(database, find_shop(database, SHOP).id, steps.append)
    assert sum(steps) == 11
