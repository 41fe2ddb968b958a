import pytest

from app.counts.period import find_shop
from app.dev.seed import count, seed, uncounted
from app.merchant.experiments import show
from tests.calls import SHOP


def stored(database):
    return database.execute("SELECT count(*) FROM tracked_events").fetchone()[0]


def test_a_year_that_was_broken_off_leaves_nothing_and_comes_whole_the_next_time(database):
    def break_off(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        seed(database, SHOP, 2_000, break_off)
    assert stored(database) == 0
    come = []
    number = seed(database, SHOP, 2_000, come.append)
    assert 1_500 < number == sum(come) == stored(database)
    assert seed(database, SHOP, 2_000, come.append) == 0


def test_its_visitors_have_devices_browsers_and_systems(database):
    seed(database, SHOP, 2_000, lambda _: None)
    shown = database.execute("SELECT DISTINCT device_class, browser, os FROM batches").fetchall()
    assert ("mobile", "Safari", "iOS") in shown
    assert {device for device, _, _ in shown} == {"desktop", "mobile", "tablet"}
    assert all(browser and system for _, browser, system in shown)


def test_the_merchants_page_shows_it_at_once(database):
    seed(database, SHOP, 2_000, lambda _: None)
    before, come = uncounted(database), []
    count(database, come.append)
    assert sum(come) == before > 700
    assert uncounted(database) == 0


@pytest.mark.campaign
def test_the_page_finds_the_effect_of_one_experiment_and_none_of_the_other(database):
    seed(database, SHOP, 40_000, lambda _: None)
    count(database, lambda _: None)
    shown = show(database, find_shop(database, SHOP))
    assert shown["experiment"]["verdict"] == "raises"
    assert shown["experiment"]["is_running"]
    assert [one["verdict"] for one in shown["earlier"]] == ["not_shown"]
    for one in (shown["experiment"], *shown["earlier"]):
        assert all(check["ok"] for check in one["checks"])
