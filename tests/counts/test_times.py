"""How long it took from the product page to the cart, and from the button to the result."""

from dataclasses import replace
from datetime import timedelta

import pytest

from app.counts import rollups
from app.counts.cells import unpack
from app.counts.measures import COUNTED, STEPS, Dimension
from app.counts.period import Period, find_shop
from app.counts.rollups import count_next, recount_next
from app.merchant.commands import numbers_of, plain_numbers
from app.merchant.reports import freshness, report
from tests.calls import SHOP
from tests.counts.histories import (
    ADDED,
    BUTTON,
    CART_CLICK,
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

DAY = 24 * 60
TO_RESULT = [(PAGE, 0), (BUTTON, 1), (UPLOAD, 2), (START, 3), (RESULT, 4)]


@pytest.fixture
def times(database):
    """Both times of some days, as they are seen at some minutes after NOON."""

    def times(*batches, days=1, now=9 * DAY):
        store(database, *batches)
        count_all(database)
        shop = replace(find_shop(database, SHOP), now=moment(now), today=moment(now).date())
        period = Period(NOON.date(), NOON.date() + timedelta(days=days - 1))
        shown = report(database, shop, period, "product")
        assert numbers_of(shown) == plain_numbers(database, shop, period)
        for time, step in zip(shown["times"], (6, 4), strict=True):
            assert time["visitors"] == shown["funnel"][step]["visitors"]
        return shown["times"]

    return times


def in_minutes(times):
    return [time["median_seconds"] and time["median_seconds"] / 60 for time in times]


@pytest.mark.parametrize(
    ("events", "minutes"),
    [
        ([*TO_RESULT, (CART_CLICK, 5), (ADDED, 9)], [9, 3]),
        (TO_RESULT, [None, 3]),
        ([*TO_RESULT, (RESULT, 7), (CART_CLICK, 8), (ADDED, 9), (ADDED, 11)], [9, 3]),
        # A photo that was kept.
        ([(PAGE, 0), (BUTTON, 1), (START, 2), (RESULT, 6)], [None, 5]),
        # The attempt's first click, and the latest view that may have begun it.
        ([(PAGE, 0), (BUTTON, 1), (BUTTON, 5), (START, 6), (RESULT, 8)], [None, 7]),
        ([(PAGE, -60), *TO_RESULT, (CART_CLICK, 5), (ADDED, 6)], [6, 3]),
        # The click of a later attempt, which got no further, is not of the one that got there.
        ([*TO_RESULT[:4], (PAGE, 10), (BUTTON, 11), (RESULT, 12)], [None, 11]),
        ([*TO_RESULT, (PAGE, 10), (CART_CLICK, 11), (ADDED, 12)], [12, 3]),
        # Not the fastest attempt, but the one that was the first to get there.
        (
            [*TO_RESULT, (PAGE, 60), (BUTTON, 61), (START, 62), (RESULT, 63)],
            [None, 3],
        ),
    ],
)
def test_a_time_is_of_the_attempt_that_was_the_first_to_get_there(times, events, minutes):
    assert in_minutes(times(batch("a", *events))) == minutes


# The next day's steps are within the window of the last view of the day, and go on from it.
@pytest.mark.parametrize(("other", "minutes"), [(-DAY, [None, 10]), (DAY, [730, 10])])
def test_it_is_the_same_where_the_visitor_comes_on_several_days(times, other, minutes):
    late = batch("a", (PAGE, 0), (BUTTON, 700), (START, 701), (RESULT, 710), (PAGE, 716))
    assert in_minutes(times(late, visit("a", 7, minutes=other))) == minutes


def test_a_visitor_counts_once_with_the_first_day_of_the_range(times):
    found = times(
        visit("a", 7),
        batch("a", *[(name, DAY + 10 * n) for name, n in TO_RESULT]),
        batch("b", *[(name, DAY + 5 * n) for name, n in TO_RESULT]),
        days=3,
    )
    assert in_minutes(found) == [6, 9]
    assert [time["visitors"] for time in found] == [1, 2]


def test_each_class_has_those_below_its_end_and_the_share_of_five_minutes_is_of_all(times):
    seconds = [0, 9.9, 10, 59, 60, 299.9, 300, 3599, 3600, 21_599, 21_600, 80_000]
    visits = [
        batch(f"v{n}", (PAGE, 0), (BUTTON, 1), (START, 1), (RESULT, 1 + after / 60))
        for n, after in enumerate(seconds)
    ]
    _, time = times(*visits)
    assert [one["visitors"] for one in time["classes"]] == [2, 1, 1, 1, 1, 1, 1, 2, 2]
    assert [one["from_seconds"] for one in time["classes"]][-2:] == [3_600, 21_600]
    assert time["classes"][-1]["to_seconds"] is None
    assert time["within_5_minutes"] == 6 / 12
    assert time["median_seconds"] == (299 + 300) // 2


def test_today_has_what_was_done_so_far(times):
    found = times(visit("waits", 7, minutes=-30), batch("on the way", (PAGE, -5)), now=0)
    assert [time["visitors"] for time in found] == [1, 1]


def test_where_nobody_got_there_nothing_is_divided(times):
    for time in times(visit("a", 2)):
        assert time["median_seconds"] is time["within_5_minutes"] is None
        assert {one["share"] for one in time["classes"]} == {None}


def test_the_release_before_finds_nothing_that_it_does_not_expect(database):
    store(database, *(visit(f"v{n}", 7, minutes=n * DAY) for n in range(3)))
    count_all(database)
    scales = database.execute(
        "SELECT dimension, part, cells FROM report_counts WHERE dimension IN (6, 7)"
    ).fetchall()
    for dimension, part, packed in scales:
        if dimension == Dimension.COARSE:  # of which it reads all
            assert {step for step, *_ in unpack(packed)} < set(range(len(STEPS)))
        else:
            assert part // 64 < len(STEPS) or part // 64 in (7, 8)
    assert len(scales) > 10


@pytest.mark.one_postgres  # a trigger's work
def test_what_the_release_before_counts_only_this_one_counts_again(database, monkeypatch, times):
    with monkeypatch.context() as older:
        older.setattr(rollups, "COUNTED", 2)
        store(database, visit("a", 7))
        while count_next(database):
            pass
    shop = find_shop(database, SHOP)
    assert database.execute("SELECT * FROM report_recounts").fetchall() == [(shop.id, COUNTED)]
    # Where the older worker looks: it would count the shop, and mark it, again and again.
    assert database.execute("SELECT * FROM report_outdated").fetchall() == []
    assert in_minutes(times()) == [6, 3]
    assert not freshness(database, shop)["is_recounting"]


def test_a_shop_that_a_later_release_wants_to_count_is_left_to_it(database):
    store(database, visit("a", 7))
    count_all(database)
    shop = find_shop(database, SHOP)
    database.execute("INSERT INTO report_recounts VALUES (%s, %s)", [shop.id, COUNTED + 1])
    assert not recount_next(database)
    assert not freshness(database, shop)["is_recounting"]
    assert database.execute("SELECT count(*) FROM report_recounts").fetchone() == (1,)
