"""The comparison of one visitor's day, rule by rule, at the edges of the window."""

import pytest

from app.counts.measures import CART_ADD, KINDS, STEPS, Event, Measure
from app.counts.visitor import days_and_times, of_order, which

HOUR = 60 * 60 * 1_000_000
WINDOW = 24 * HOUR
PAGE, RESULT, ADDED, CART = (
    KINDS[name] for name in (STEPS[0], STEPS[4], STEPS[6], CART_ADD)
)  # fmt: skip
COMPARED = {Measure.EXPOSED, Measure.TRIED, Measure.TRIED_ADDED, Measure.TRIED_ADDED_SAME,
            Measure.UNTRIED_ADDED}  # fmt: skip


def of_day(*events, day=0, **options):
    """Of kinds, hours and products: what the comparison takes from a day, by name."""
    made = [
        Event(int(hours * HOUR) + more, kind, int(hours // 24), product, 1, 1, 1)
        for kind, hours, product, more in ((*event, *(1, 0)[len(event) - 2 :]) for event in events)
    ]
    days, _ = days_and_times(sorted(made), WINDOW, **options)
    return {Measure(number).name for number in days.get(day, ()) if number in COMPARED}


@pytest.mark.parametrize(
    ("events", "wanted"),
    [
        ([(PAGE, 1)], {"EXPOSED"}),
        ([(RESULT, 1)], {"EXPOSED", "TRIED"}),
        ([(CART, 1)], set()),
        ([(CART, 1), (PAGE, 2), (RESULT, 3)], set()),  # nothing is known of what led to it
        ([(PAGE, 1), (CART, 2)], {"EXPOSED", "UNTRIED_ADDED"}),
        ([(PAGE, 1), (ADDED, 2)], {"EXPOSED", "UNTRIED_ADDED"}),
        ([(PAGE, 1), (CART, 2), (RESULT, 3)], {"EXPOSED", "UNTRIED_ADDED"}),
        ([(PAGE, 1), (RESULT, 2)], {"EXPOSED", "TRIED"}),
        ([(PAGE, 1), (RESULT, 2), (CART, 3)],
         {"EXPOSED", "TRIED", "TRIED_ADDED", "TRIED_ADDED_SAME"}),
        ([(PAGE, 1), (RESULT, 2, 7), (CART, 3, 8)], {"EXPOSED", "TRIED", "TRIED_ADDED"}),
        ([(RESULT, 2, 7), (RESULT, 3, 8), (CART, 4, 7)],
         {"EXPOSED", "TRIED", "TRIED_ADDED", "TRIED_ADDED_SAME"}),
        ([(RESULT, 2), (PAGE, 3), (CART, 4)],
         {"EXPOSED", "TRIED", "TRIED_ADDED", "TRIED_ADDED_SAME"}),
    ],
)  # fmt: skip
def test_the_first_of_three_things_decides(events, wanted):
    assert of_day(*events) == wanted
    # The same among more events than are remembered by their order.
    assert of_day(*events, *[(PAGE, 23)] * 17) >= wanted - {"EXPOSED"}


@pytest.mark.parametrize(("more", "counts"), [(0, True), (1, False)])
def test_an_add_counts_up_to_the_end_of_the_window(more, counts):
    untried = of_day((PAGE, 10), (CART, 34, 1, more))
    assert ("UNTRIED_ADDED" in untried) is counts
    tried = of_day((RESULT, 10), (CART, 34, 1, more))
    assert ("TRIED_ADDED" in tried) is ("TRIED_ADDED_SAME" in tried) is counts
    assert "TRIED" in tried


def test_an_add_counts_from_the_last_page_and_the_last_result_of_the_day():
    assert "UNTRIED_ADDED" in of_day((PAGE, 1), (PAGE, 20), (CART, 44))
    assert "UNTRIED_ADDED" not in of_day((PAGE, 1), (PAGE, 20), (CART, 44, 1, 1))
    assert "TRIED_ADDED" in of_day((RESULT, 1), (RESULT, 20), (CART, 44))
    assert "TRIED_ADDED" not in of_day((RESULT, 1), (RESULT, 20), (CART, 44, 1, 1))
    # That of another product is no result of this one.
    late = of_day((RESULT, 1, 7), (RESULT, 20, 8), (CART, 26, 7))
    assert late == {"EXPOSED", "TRIED", "TRIED_ADDED"}


def test_each_day_has_a_decision_of_its_own():
    history = [(PAGE, 20), (RESULT, 30), (CART, 31)]
    assert of_day(*history) == {"EXPOSED"}
    assert of_day(*history, day=1) == {"EXPOSED", "TRIED", "TRIED_ADDED", "TRIED_ADDED_SAME"}
    assert of_day((PAGE, 1), (CART, 2), (RESULT, 30), day=1) == {"EXPOSED", "TRIED"}


@pytest.mark.parametrize(("began_by", "is_in"), [(9, False), (10, True)])
def test_what_began_later_decides_nothing(began_by, is_in):
    by = {"began_by": began_by * HOUR}
    assert of_day((PAGE, 10), (CART, 11), **by) == (
        {"EXPOSED", "UNTRIED_ADDED"} if is_in else set()
    )
    tried = of_day((RESULT, 10), (CART, 11), **by)
    assert tried == ({"EXPOSED", "TRIED", "TRIED_ADDED", "TRIED_ADDED_SAME"} if is_in else set())
    # An add later counts for a page that was seen in time, and for that alone.
    both = of_day((PAGE, 5), (PAGE, 10), (CART, 29.5), **by)
    assert ("UNTRIED_ADDED" in both) is is_in
    assert "EXPOSED" in both


def test_only_the_order_and_the_products_matter_within_a_window():
    kinds = bytes([PAGE, RESULT, CART])
    assert which(kinds, [5, 5, 5]) == b""
    assert which(bytes([PAGE, CART]), [5, 6]) == b""
    assert which(bytes([PAGE, RESULT]), [5, 6]) == b""
    assert which(kinds, [9, 5, 9]) == bytes([0, 1, 0])
    assert int(Measure.TRIED_ADDED_SAME) in of_order(kinds)[0]
    assert int(Measure.TRIED_ADDED_SAME) in of_order(kinds, bytes([1, 0, 0]))[0]
    assert int(Measure.TRIED_ADDED_SAME) not in of_order(kinds, bytes([0, 1, 0]))[0]
