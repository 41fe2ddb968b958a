"""What the page says beside the counts: how fresh they are, and what was rejected."""

from datetime import UTC, datetime, timedelta

import pytest

from app.batch.batch import Batch, Context, Rejected
from app.counts.period import Period, find_shop
from app.counts.rollups import mark_dirty
from app.merchant import preferences, reports
from app.merchant.preferences import change
from app.merchant.reports import freshness, is_empty, rejected, report
from app.replies import Refusal
from tests.calls import SHOP
from tests.cases import CASES
from tests.counts.histories import NOON, count_all, store, visit

OTHER = "b.myshopify.com"
DAY = Period(NOON.date(), NOON.date())


@pytest.fixture
def shop(database):
    store(database, visit("a", 1), visit("b", 2, shop=OTHER))
    return find_shop(database, SHOP)


def seconds_behind(shown):
    return (datetime.now(UTC) - datetime.fromisoformat(shown["until"])).total_seconds()


def test_the_numbers_are_as_fresh_as_what_waits_longest_to_be_counted(database, shop):
    database.execute("UPDATE report_news SET written_at = now() - interval '100 s'")
    assert 99 < seconds_behind(freshness(database, shop)) < 130
    assert 299 < seconds_behind(freshness(database, shop, oldest_waiting=300.0)) < 330
    assert 99 < seconds_behind(freshness(database, shop, oldest_waiting=10.0)) < 130


def test_what_waits_to_be_stored_is_not_in_the_numbers(database, shop):
    count_all(database)
    assert seconds_behind(freshness(database, shop)) < 30
    assert 99 < seconds_behind(freshness(database, shop, oldest_waiting=100.0)) < 130


def test_numbers_are_behind_while_a_batch_waits_or_for_long(database, shop):
    assert freshness(database, shop)["is_behind"]
    count_all(database)
    assert not freshness(database, shop)["is_behind"]
    long = reports._BEHIND.total_seconds()
    assert not freshness(database, shop, oldest_waiting=long - 5)["is_behind"]
    assert freshness(database, shop, oldest_waiting=long + 5)["is_behind"]


def test_a_shop_is_counted_anew_only_where_all_of_it_is(database, shop):
    count_all(database)
    mark_dirty(database, shop.id, {"a"})
    assert not freshness(database, shop)["is_recounting"]
    mark_dirty(database, find_shop(database, OTHER).id)
    assert not freshness(database, shop)["is_recounting"]
    mark_dirty(database, shop.id)
    assert freshness(database, shop)["is_recounting"]


def test_a_shop_is_empty_until_something_was_counted(database, shop):
    assert is_empty(database, shop)
    count_all(database)
    assert not is_empty(database, shop)


def test_the_last_twenty_rejected_are_shown_and_cut(database, shop):
    for minutes in range(22):
        at = NOON + timedelta(minutes=minutes)
        for domain in (SHOP, OTHER):
            store(
                database,
                Batch.build(
                    shop=domain, customer_id=None, received_at=at, context=Context(), events=[],
                    rejected=[Rejected(None, "MALFORMED_JSON", [], "x" * 400)],
                ),
            )  # fmt: skip
    shown = rejected(database, shop)
    assert [row["received_at"] for row in shown] == [
        NOON + timedelta(minutes=minutes) for minutes in range(21, 1, -1)
    ]
    assert {len(row["payload"]) for row in shown} == {300}


@pytest.mark.parametrize(
    ("zone", "window", "names"),
    [
        ("Mars", 24, ["time_zone"]),
        ("localtime", 24, ["time_zone"]),
        ("CET", 24, ["time_zone"]),
        (5, 24, ["time_zone"]),
        ("UTC", 25, ["window_hours"]),
        ("UTC", True, ["window_hours"]),
        (None, None, ["time_zone", "window_hours"]),
    ],
)
def test_a_setting_that_cannot_be_is_named_and_changes_nothing(database, shop, zone, window, names):
    with pytest.raises(Refusal) as refused:
        change(database, SHOP, time_zone=zone, window_hours=window)
    assert [detail["path"] for detail in refused.value.details] == names
    assert refused.value.status == 400
    assert all(detail["message"].startswith("must be ") for detail in refused.value.details)
    assert database.execute("SELECT 1 FROM report_shops WHERE window_hours <> 24").fetchall() == []


@pytest.mark.parametrize("zone", CASES["time_zones_of_browsers"])
def test_a_zone_goes_by_the_name_that_a_browser_has_for_it(database, shop, zone):
    change(database, SHOP, time_zone=zone, window_hours=24)
    count_all(database)
    shown = report(database, find_shop(database, SHOP), DAY, "product")
    assert shown["visitors"]["now"] == 1


def test_a_zone_that_postgres_knows_by_another_name_is_kept_under_that_one(
    database, shop, monkeypatch
):
    available = preferences.available_timezones() | {"Mars/Olympus"}
    monkeypatch.setattr(preferences, "available_timezones", lambda: available)
    monkeypatch.setattr(preferences, "_links", lambda: {"Mars/Olympus": "Europe/Kyiv"})
    change(database, SHOP, time_zone="Mars/Olympus", window_hours=24)
    assert find_shop(database, SHOP).time_zone == "Europe/Kyiv"


def test_a_changed_setting_has_the_shop_counted_anew_and_the_same_one_has_not(database, shop):
    def change_to(zone, window):
        change(database, SHOP, time_zone=zone, window_hours=window)
        is_recounting = freshness(database, shop)["is_recounting"]
        count_all(database)
        return is_recounting

    change_to("UTC", 24)
    assert [change_to("UTC", 24), change_to("GMT", 24), change_to("GMT", 168)] == [
        False, True, True
    ]  # fmt: skip
    assert find_shop(database, SHOP).time_zone == "GMT"
    assert find_shop(database, OTHER).time_zone != "GMT"


def test_rates_are_of_the_first_step_and_of_the_one_before(database):
    store(database, *(visit(f"v{number}", number % 5 + 1) for number in range(10)))
    count_all(database)
    shown = report(database, find_shop(database, SHOP), DAY, "product")
    funnel = shown["funnel"]
    assert [step["visitors"] for step in funnel[:6]] == [10, 8, 6, 4, 2, 0]
    assert [step["of_first"] for step in funnel[:6]] == [1, 0.8, 0.6, 0.4, 0.2, 0]
    assert [step["of_previous"] for step in funnel[:4]] == [None, 0.8, 0.75, 4 / 6]
    assert funnel[6]["of_previous"] is None
    assert [step["dropped"] for step in funnel] == [2, 2, 2, 2, 2, 0, None]
    assert [step["step"] for step in funnel] == [1, 2, 3, 4, 5, 6, 7]
    uplift = shown["uplift"]
    assert (uplift["tried"]["visitors"], uplift["others"]["visitors"]) == (2, 8)
