"""The plain count is right too where two wrongs could agree."""

from datetime import timedelta

import pytest

from app.counts.period import Period, find_shop
from app.counts.rollups import mark_dirty
from app.merchant.commands import numbers_of, plain_numbers
from app.merchant.reports import report
from tests.calls import SHOP
from tests.counts.histories import (
    CART_ADD,
    FUNNEL,
    NOON,
    PAGE,
    RESULT,
    UPLOAD,
    batch,
    count_all,
    store,
    visit,
)

DAY = 24 * 60
PERIOD = Period(NOON.date(), NOON.date() + timedelta(days=4))


@pytest.fixture
def counted(database):
    def counted(*batches):
        store(database, *batches)
        count_all(database)
        shop = find_shop(database, SHOP)
        plain = plain_numbers(database, shop, PERIOD)
        assert numbers_of(report(database, shop, PERIOD, "product")) == plain
        return plain

    return counted


def test_who_comes_on_several_days_is_one_visitor(counted):
    plain = counted(*(visit("a", 7, minutes=day * DAY) for day in range(3)))
    assert [visitors for visitors, _ in plain["funnel"]] == [1] * 7


def test_who_adds_to_the_cart_on_several_days_without_a_result_is_one_visitor(counted):
    bought = [batch("a", (PAGE, day * DAY), (CART_ADD, day * DAY + 1)) for day in range(3)]
    plain = counted(*bought, visit("b", 1))
    assert plain["uplift"] == (0, 0, 0, 2, 1)


def test_who_leaves_out_a_step_has_not_done_the_next(counted):
    plain = counted(
        batch("a", (PAGE, 0), (UPLOAD, 1)),
        batch("b", *[(name, n) for n, name in enumerate(FUNNEL) if n != 3]),
    )
    assert [visitors for visitors, _ in plain["funnel"]] == [2, 1, 1, 0, 0, 0, 0]


def test_of_a_visitor_of_whom_a_part_was_erased_the_rest_is_counted(database, counted):
    counted(visit("a", 3), visit("a", 2, minutes=DAY), visit("b", 1))
    first = "(SELECT min(id) FROM batches)"
    database.execute(f"DELETE FROM events WHERE batch_id = {first}")
    database.execute(f"DELETE FROM stored_batches WHERE id = {first}")
    mark_dirty(database, find_shop(database, SHOP).id, {"a"})
    plain = counted(visit("c", 1))
    assert [visitors for visitors, _ in plain["funnel"]] == [3, 1, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("events", "uplift"),
    [
        ([(PAGE, 0), (CART_ADD, 0)], (0, 0, 0, 1, 1)),  # at the same moment
        ([(RESULT, 0), (CART_ADD, 0)], (1, 1, 1, 0, 0)),
        ([(PAGE, 0), (RESULT, 5), (CART_ADD, 5)], (1, 1, 1, 0, 0)),
        ([(CART_ADD, 0), (PAGE, 1)], (0, 0, 0, 0, 0)),  # it begins with the add
        ([(PAGE, 0), (CART_ADD, DAY)], (0, 0, 0, 1, 1)),  # as long as the window is
        ([(PAGE, 0), (CART_ADD, DAY + 1)], (0, 0, 0, 1, 0)),
        ([(RESULT, 0), (CART_ADD, DAY)], (1, 1, 1, 0, 0)),
        ([(RESULT, 0), (CART_ADD, DAY + 1)], (1, 0, 0, 0, 0)),
    ],
)
def test_what_happens_at_one_moment_or_at_the_end_of_the_window_is_in_its_order(
    counted, events, uplift
):
    assert counted(batch("a", *events, product_id="p"))["uplift"] == uplift
