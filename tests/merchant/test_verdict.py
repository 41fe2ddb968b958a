"""The numbers in an experiment's answer, where they are large enough to see each digit."""

from datetime import UTC, date, datetime, timedelta

import pytest

from app.batch.arm import is_held_back
from app.counts.period import find_shop
from app.merchant.experiments import show, start
from app.merchant.statistics import Arm, difference_interval
from app.merchant.verdict import Forecast, Numbers, checks, verdict
from tests.calls import SHOP
from tests.counts.histories import CART_ADD, PAGE, batch, count_all, store
from tests.merchant.test_experiments import numbers

TODAY = date(2026, 11, 27)


@pytest.mark.parametrize(
    ("widget", "holdout", "kind", "words"),
    [
        (Arm(90_000, 18_000), Arm(10_000, 500), "raises",
         "raises the share who add to the cart from 5.0% to 20.0% (+15.0 points, between"),
        (Arm(90_000, 4_500), Arm(10_000, 2_000), "lowers",
         "lowers the share who add to the cart from 20.0% to 5.0% (−15.0 points, between"),
        (Arm(90_000, 1_800), Arm(10_000, 90), "raises",
         "raises the share who add to the cart from 0.90% to 2.00% (+1.10 points, between"),
    ],
)  # fmt: skip
def test_rates_and_their_difference_are_told(widget, holdout, kind, words):
    found, sentence = verdict(numbers(widget=widget, holdout=holdout), None, TODAY)
    assert found == kind
    assert words in sentence
    low, high = difference_interval(widget, holdout)
    digits = 1 if holdout.rate >= 0.01 else 2
    told = [f"{100 * edge:+.{digits}f}".replace("-", "−") for edge in (low, high)]
    assert sentence.endswith(f"between {told[0]} and {told[1]} whenever you look).")


def test_what_is_not_shown_tells_within_what_it_lies():
    both = Arm(90_000, 9_000), Arm(10_000, 1_000)
    kind, sentence = verdict(numbers(widget=both[0], holdout=both[1]), None, TODAY)
    low, high = (f"{100 * edge:+.1f}".replace("-", "−") for edge in difference_interval(*both))
    assert kind == "not_shown"
    assert sentence.endswith(f"it is between {low} and {high} points.")


@pytest.mark.parametrize(
    ("forecast", "words"),
    [
        (None, "No difference was shown"),
        (Forecast(None, None), "At today's traffic no difference would show within a year."),
        (Forecast(0.15, date(2026, 12, 20)), "a difference of 15.0 points would show by Dec 20."),
        (Forecast(0.001, date(2027, 1, 2)), "of 0.1 points would show by Jan 2, 2027."),
        (Forecast(0.0009, date(2026, 12, 20)), "of 0.09 points would show by Dec 20."),
    ],
)
def test_a_forecast_is_told_in_points_and_by_when(forecast, words):
    assert words in verdict(numbers(), forecast, TODAY)[1]


def of(name, **changes):
    [found] = [one for one in checks(numbers(**changes)) if one["name"] == name]
    return found["ok"]


def test_each_check_has_its_edge():
    assert [of("seen", saw_widget=seen) for seen in (0, 5, 6)] == [True, True, False]
    days = [timedelta(days=14), timedelta(days=14, seconds=-1)]
    assert [of("too_short", days=one) for one in days] == [True, False]
    for few, many in ((19, 500), (500, 19)):
        assert not of("too_few", widget=Arm(9_000, many), holdout=Arm(1_000, few))
    assert of("too_few", widget=Arm(9_000, 20), holdout=Arm(1_000, 20))
    sizes = {held_back: of("out_of_proportion", holdout=Arm(held_back, 50),
                           widget=Arm(10_000 - held_back, 500))
             for held_back in (890, 902, 1_098, 1_110)}  # fmt: skip
    assert sizes == {890: False, 902: True, 1_098: True, 1_110: False}


def test_what_it_is_of_counts_those_who_wait_too():
    found: Numbers = numbers(widget_waiting=70, holdout_waiting=30)
    assert (found.everybody, found.all_held_back) == (10_100, 1_030)
    assert found.pooled_rate == pytest.approx(591 / 10_000)
    assert numbers(widget=Arm(0, 0), holdout=Arm(0, 0)).pooled_rate is None


def test_the_api_has_rates_differences_and_days(database):
    """Of two days with 20 visitors each: half of the widget's add, and a fifth of the others."""
    begun = datetime.now(UTC) - timedelta(days=4)
    with database.transaction():
        start(database, SHOP, share=20, salt="s", begins=begun.isoformat())
    number = {True: 0, False: 0}
    for day in range(2):
        for one in range(20):
            visitor = f"v{day}-{one}"
            arm = is_held_back("s", 20, visitor)
            number[arm] += 1
            at = begun + timedelta(days=day, minutes=one + 1)
            adds = number[arm] % (5 if arm else 2) == 0
            store(database, batch(visitor, (PAGE, at), *([(CART_ADD, at)] if adds else [])))
    count_all(database)
    shown = show(database, find_shop(database, SHOP))["experiment"]
    widget, holdout = shown["widget"], shown["holdout"]
    assert (widget["visitors"], holdout["visitors"]) == (number[False], number[True])
    assert (widget["added"], holdout["added"]) == (number[False] // 2, number[True] // 5)
    assert widget["rate"] == widget["added"] / widget["visitors"]
    assert shown["difference"]["value"] == widget["rate"] - holdout["rate"]
    assert shown["ratio"]["value"] == widget["rate"] / holdout["rate"]
    assert shown["difference"]["low"] < shown["difference"]["value"] < shown["difference"]["high"]
    assert (shown["window_hours"], holdout["saw_widget"], widget["waiting"]) == (24, 0, 0)
    of_days = shown["days"]
    assert len({day["day"] for day in of_days}) == 2
    assert {day["arm"] for day in of_days} == {"widget", "holdout"}
    assert sum(day["visitors"] for day in of_days) == 40
