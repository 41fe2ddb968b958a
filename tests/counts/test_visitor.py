"""What one visitor's events add up to."""

from app.counts.measures import CART_ADD, KINDS, STEPS, Event, Measure
from app.counts.visitor import days_and_times

HOUR = 60 * 60 * 1_000_000
PAGE, RESULT, ADD = KINDS[STEPS[0]], KINDS[STEPS[4]], KINDS[CART_ADD]


def days(*events):
    """Of kinds and hours since the first day began."""
    made = [Event(hours * HOUR, kind, hours // 24, 1, 1, 1, 1) for kind, hours in events]
    return days_and_times(made, 24 * HOUR)[0]


def test_a_day_without_a_result_is_not_decided_by_a_page_of_the_next_day():
    found = days((PAGE, 20), (RESULT, 34), (PAGE, 35), (ADD, 36))
    assert Measure.UNTRIED_ADDED not in found[0]
    assert {Measure.TRIED, Measure.TRIED_ADDED} <= found[1]


def test_a_day_is_decided_by_an_add_within_the_window_of_its_own_page():
    assert Measure.UNTRIED_ADDED in days((PAGE, 20), (ADD, 44))[0]
    assert Measure.UNTRIED_ADDED not in days((PAGE, 20), (ADD, 45))[0]
