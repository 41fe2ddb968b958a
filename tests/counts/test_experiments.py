"""An experiment's numbers are those of a plain count, whatever has happened."""

import itertools
from datetime import timedelta
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.batch.arm import is_held_back
from app.counts import journeys
from app.counts.experiment_sums import days, groups
from app.counts.period import find_shop
from app.counts.plain import Plain
from app.counts.rollups import forget_deleted, mark_dirty, rebuild
from app.merchant.groups import Choice
from tests.calls import SHOP
from tests.counts.histories import (
    ADDED,
    BUTTON,
    CART_ADD,
    NOON,
    PAGE,
    batch,
    count_all,
    store,
)
from tests.counts.test_exact import STARTS, acts, perform, settings_of_shops, settle

_shops = itertools.count()
SALT = "s"
DAY = 24 * 60
HELD_BACK = [f"v{n}" for n in range(200) if is_held_back(SALT, 50, f"v{n}")]
OTHERS = [f"v{n}" for n in range(200) if not is_held_back(SALT, 50, f"v{n}")]
LONG_AFTER = NOON + timedelta(days=100)

moments = st.integers(-24, 5 * 24).map(lambda hours: timedelta(hours=hours))
more_acts = st.one_of(
    acts,
    acts,
    st.tuples(st.just("start"), moments, st.sampled_from([50, 10, 1])),
    st.tuples(st.just("stop"), moments),
    st.tuples(st.just("zone"), settings_of_shops),
)


def begin(database, shop, start=NOON, end=None, share=50):
    """A row as the merchant's page makes it."""
    [(id_,)] = database.execute(
        "INSERT INTO experiments (shop_id, share, salt, starts_at, ends_at)"
        " SELECT id, %s, %s, %s, %s FROM shops WHERE domain = %s RETURNING id",
        [share, SALT, start, end, shop],
    )
    nudge(database, shop)
    return id_


def nudge(database, shop):
    mark_dirty(database, find_shop(database, shop).id, [""])


def stop(database, shop, end):
    id_, start = database.execute(
        "SELECT experiments.id, starts_at FROM experiments JOIN shops ON shops.id = shop_id"
        " WHERE domain = %s ORDER BY experiments.id DESC LIMIT 1",
        [shop],
    ).fetchone()
    end = max(end, start + timedelta(minutes=1))
    database.execute("UPDATE experiments SET ends_at = %s WHERE id = %s", [end, id_])
    nudge(database, shop)


def choose(database, shop, time_zone, window_hours):
    database.execute(
        "INSERT INTO report_shops (shop_id, time_zone, window_hours)"
        " SELECT id, %s, %s FROM shops WHERE domain = %s ON CONFLICT (shop_id) DO UPDATE"
        " SET time_zone = excluded.time_zone, window_hours = excluded.window_hours",
        [time_zone, window_hours, shop],
    )
    mark_dirty(database, find_shop(database, shop).id)


def both_ways(database, name, id_, now=LONG_AFTER, only=None):
    shop = find_shop(database, name)
    salt, share, start, end = database.execute(
        "SELECT salt, share, starts_at, ends_at FROM experiments WHERE id = %s", [id_]
    ).fetchone()
    plain = Plain(
        database, shop=name, time_zone=shop.time_zone, window_hours=shop.window_hours,
        first=start.date() - timedelta(days=2), last=start.date() + timedelta(days=400),
    )  # fmt: skip
    of = only and only.find(database, shop.id)
    counted = [tuple(day) for day in days(database, shop.id, id_, shop.window_hours, now, of)]
    return counted, plain.experiment(salt, share, start, end, now, only)


@settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(more_acts, min_size=2, max_size=12), settings_of_shops, st.sampled_from(STARTS),
       moments, st.sampled_from([50_000, 10]), moments)  # fmt: skip
def test_it_is_equal_after_any_history(module_database, acts, chosen, origin, begun, most, later):
    database, name = module_database, f"experiment-{next(_shops)}.myshopify.com"
    database.execute("INSERT INTO shops (domain) VALUES (%s)", [name])
    choose(database, name, *chosen)
    ids = [begin(database, name, origin + begun)]
    with patch.object(journeys, "MOST_EVENTS", most):
        for act in acts:
            if act[0] == "start":
                ids.append(begin(database, name, origin + act[1], share=act[2]))
            elif act[0] == "stop":
                stop(database, name, origin + act[1])
            elif act[0] == "count":
                settle(database)
            elif act[0] == "zone":
                choose(database, name, *act[1])
            else:
                perform(database, name, [act], origin)
        settle(database)
        for id_ in ids:
            now = origin + timedelta(days=2) + later
            counted, plain = both_ways(database, name, id_, now)
            assert counted == plain
            some = ("product", "p1"), ("device", "mobile"), ("language", "")
            for by, value in () if has_pages_at_once(database, name) else some:
                counted, plain = both_ways(database, name, id_, now, Choice(by, value))
                assert counted == plain
                assert in_a_group(database, name, id_, now, Choice(by, value)) == summed(counted)


def in_a_group(database, name, id_, now, only):
    shop = find_shop(database, name)
    of = only.find(database, shop.id)
    found = groups(database, shop.id, id_, shop.window_hours, of.dimension, now)
    return {arm: numbers for arm, *numbers in found.get(of.number, [])}


def summed(counted):
    sums = {}
    for _, arm, *numbers in counted:
        sums[arm] = list(map(sum, zip(sums.get(arm, [0] * 4), numbers, strict=True)))
    return sums


def has_pages_at_once(database, name):
    """Any of them may be a visitor's first."""
    return database.execute(
        "SELECT 1 FROM tracked_events WHERE shop_domain = %s AND event = %s"
        " GROUP BY client_id, occurred_at HAVING count(*) > 1 LIMIT 1",
        [name, PAGE],
    ).fetchone()


@pytest.fixture(params=["begun before", "begun when all was counted"])
def counted(database, request):
    """The sums of both arms of an experiment from NOON on: without, with the widget."""

    def counted(*batches, now=LONG_AFTER, **options):
        database.execute("INSERT INTO shops (domain) VALUES (%s)", [SHOP])
        if request.param == "begun before":
            id_ = begin(database, SHOP, **options)
            count_all(database)
        for one in batches:  # each on top of what is counted
            store(database, one)
            count_all(database)
        if request.param != "begun before":
            id_ = begin(database, SHOP, **options)
            count_all(database)
        found, plain = both_ways(database, SHOP, id_, now)
        assert found == plain
        sums = {True: [0] * 4, False: [0] * 4} | summed(found)
        return sums[True], sums[False]

    return counted


def test_each_visitor_is_in_one_arm_from_their_first_product_page_on(counted):
    without, with_it = counted(
        batch(HELD_BACK[0], (PAGE, 0), (PAGE, 5), (CART_ADD, 10)),
        batch(HELD_BACK[1], (PAGE, 0)),
        batch(HELD_BACK[1], (PAGE, 9 * DAY), (CART_ADD, 9 * DAY)),  # not within the window
        batch(OTHERS[0], (PAGE, 0), (BUTTON, 1), (ADDED, 24 * 60)),
        batch(OTHERS[1], (PAGE, 0), (CART_ADD, 24 * 60 + 1)),
        batch(OTHERS[2], (CART_ADD, 1)),  # saw no product page
        batch(OTHERS[3], (CART_ADD, 1), (PAGE, 2)),
    )
    assert (without, with_it) == ([2, 0, 1, 0], [3, 0, 1, 1])


def test_what_was_before_the_start_or_after_the_end_is_not_in_it(counted):
    without, with_it = counted(
        batch(HELD_BACK[0], (PAGE, -5), (CART_ADD, 5)),
        batch(HELD_BACK[1], (PAGE, -5), (PAGE, 5), (BUTTON, 100), (CART_ADD, 110)),
        batch(OTHERS[0], (PAGE, 60)),
        end=NOON + timedelta(minutes=60),
    )
    assert (without, with_it) == ([1, 0, 1, 0], [0, 0, 0, 0])


def test_who_came_after_the_end_leaves_when_it_is_stopped(database, counted):
    counted(
        batch(HELD_BACK[0], (PAGE, 0), (BUTTON, 61)),
        batch(HELD_BACK[1], (PAGE, 60)),
        batch(OTHERS[0], (PAGE, 59), (CART_ADD, 70)),
    )
    stop(database, SHOP, NOON + timedelta(minutes=60))
    count_all(database)
    [(id_,)] = database.execute("SELECT id FROM experiments")
    found, plain = both_ways(database, SHOP, id_)
    assert found == plain
    assert [day[1:] for day in found] == [(False, 1, 0, 1, 0), (True, 1, 0, 0, 0)]


def test_who_is_still_within_the_window_waits(counted):
    visits = [batch(OTHERS[n], (PAGE, minute), (CART_ADD, minute)) for n, minute in
              enumerate((0, 10, 11, 20))]  # fmt: skip
    _, with_it = counted(*visits, now=NOON + timedelta(days=1, minutes=10))
    assert with_it == [4, 2, 2, 0]


@pytest.mark.parametrize("nobody", ["undefined", " null ", "00000000-0000-0000-0000-000000000000"])
def test_whom_nobody_can_tell_apart_is_in_no_arm(counted, nobody):
    assert counted(
        batch(nobody, (PAGE, 0)), batch(None, (PAGE, 0), session_id=HELD_BACK[0])
    ) == ([0] * 4, [0] * 4)  # fmt: skip


def test_any_event_of_the_widget_tells_that_it_was_seen(counted):
    without, _ = counted(batch(HELD_BACK[0], (PAGE, 0), ("widget:zoomed", 1)),
                         batch(HELD_BACK[1], (PAGE, 0), ("page:zoomed", 1)))  # fmt: skip
    assert without == [2, 0, 0, 1]


def days_of(database, id_):
    return days(database, find_shop(database, SHOP).id, id_, 24, LONG_AFTER)


@pytest.mark.slow
def test_a_rebuild_changes_nothing_and_an_erased_visitor_leaves(database, counted):
    counted(*[batch(id_, (PAGE, n), (CART_ADD, n)) for n, id_ in enumerate(HELD_BACK + OTHERS)])
    shop = find_shop(database, SHOP)
    [(id_,)] = database.execute("SELECT id FROM experiments")
    before = list(days_of(database, id_))
    rebuild(database, shop.id)
    assert list(days_of(database, id_)) == before
    database.execute("DELETE FROM events USING batches b WHERE b.id = batch_id AND client_id = %s",
                     [HELD_BACK[0]])  # fmt: skip
    mark_dirty(database, shop.id, {HELD_BACK[0]})
    count_all(database)
    after = list(days_of(database, id_))
    assert sum(day.visitors for day in after) == 199
    assert database.execute("SELECT count(*) FROM experiment_visitors").fetchone() == (199,)


def test_with_their_events_a_visitor_is_forgotten_and_the_sums_stay(database, counted):
    counted(batch(HELD_BACK[0], (PAGE, 0)))
    database.execute("DELETE FROM events")
    assert forget_deleted(database, NOON + timedelta(days=60)) == 1
    assert database.execute("SELECT count(*) FROM experiment_visitors").fetchone() == (0,)
    [(id_,)] = database.execute("SELECT id FROM experiments")
    assert [day.visitors for day in days_of(database, id_)] == [1]
