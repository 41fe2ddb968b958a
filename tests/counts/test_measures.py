"""What is stored of a measure, and read back."""

from hypothesis import given, settings
from hypothesis import strategies as st

from app.counts.measures import (
    EVENT_ONLY,
    KIND_OF,
    KINDS,
    NOT_SHOWN,
    OTHER_KIND,
    OTHER_WIDGET,
    SIDE_STEPS,
    Dimension,
    Measure,
    in_experiment,
)
from app.counts.times import (
    BUCKETS,
    CLASSES,
    CLICK_TO_RESULT,
    PAGE_TO_CART,
    bucket_of,
    part,
    rounded,
)

LONGEST = 700_000  # s, more than the longest window


def test_the_numbers_that_counts_are_stored_under_do_not_change():
    assert [*map(int, Measure)] == [*range(21)]
    assert Measure.CART_ADDED == 7
    assert Measure.SAW_PAGE_ADDED_OR_RESULT == 14
    assert [*map(int, Dimension)] == [*range(9)]
    assert KINDS["product_page:cart_add"] == 7
    assert [KINDS[name] for name in SIDE_STEPS] == [8, 9, 10]
    assert (OTHER_WIDGET, EVENT_ONLY, OTHER_KIND) == (253, 254, 255)
    assert part(3, 17) == 3 * 64 + 17
    assert (PAGE_TO_CART, CLICK_TO_RESULT) == (7, 8)
    assert CLASSES == (10, 30, 60, 120, 300, 900, 3_600, 21_600)


def test_an_experiment_counts_pages_without_the_widget_and_nothing_else_that_is_not_shown():
    for name, kind in KINDS.items():
        without = KIND_OF[f"-{name}"]
        assert without in NOT_SHOWN
        assert in_experiment(without) == in_experiment(kind) == kind
    assert [KIND_OF[name] for name in (None, "-a:b", "a:b")] == [EVENT_ONLY, EVENT_ONLY, OTHER_KIND]
    assert KIND_OF["-widget:own"] in NOT_SHOWN
    assert in_experiment(KIND_OF["-widget:own"]) == KIND_OF["widget:own"] == OTHER_WIDGET
    assert in_experiment(EVENT_ONLY) == EVENT_ONLY
    assert in_experiment(OTHER_KIND) == OTHER_KIND


@settings(deadline=None)
@given(st.integers(0, CLICK_TO_RESULT), st.integers(0, LONGEST), st.integers(0, LONGEST))
def test_the_two_scales_of_time_fit_together(step, one, other):
    assert bucket_of(step, rounded(one)) == bucket_of(step, one) < BUCKETS
    assert one - one // 100 <= rounded(one) <= one
    if bucket_of(step, one) < bucket_of(step, other):
        assert rounded(one) < rounded(other)


def test_a_class_begins_with_its_first_second():
    for place, begins in enumerate(CLASSES):
        assert bucket_of(PAGE_TO_CART, begins - 1) == place
        assert (
            bucket_of(PAGE_TO_CART, begins) == bucket_of(PAGE_TO_CART, rounded(begins)) == place + 1
        )
