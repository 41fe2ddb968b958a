"""The statistics of an experiment, beside other people's programs and by simulation."""

from math import exp, log, sqrt

import pytest
from scipy.optimize import brentq, minimize_scalar
from scipy.special import xlogy
from scipy.stats import chisquare, norm
from statsmodels.stats.proportion import confint_proportions_2indep

from app.merchant.statistics import (
    MISTAKES,
    NARROWEST,
    POWER,
    Arm,
    boundary,
    covers,
    detectable,
    difference_interval,
    information,
    ratio_interval,
    sample_ratio,
)
from tests.simulations.worlds import World, alarms

ARMS = [
    (Arm(9_000, 600), Arm(1_000, 51)),
    (Arm(50_000, 300), Arm(500, 12)),
    (Arm(300, 20), Arm(300, 60)),
    (Arm(1_000, 1), Arm(1_000, 60)),
    (Arm(2_000, 1_900), Arm(1_000, 960)),
]


def far(widget, holdout):
    """Between them, so that an interval of theirs is one of ours."""
    return 2 * norm.sf(boundary(information(widget, holdout)))


@pytest.mark.parametrize(("widget", "holdout"), ARMS)
def test_the_ratios_interval_is_that_of_statsmodels(widget, holdout):
    theirs = confint_proportions_2indep(
        widget.added, widget.visitors, holdout.added, holdout.visitors,
        method="score", compare="ratio", alpha=far(widget, holdout), correction=False,
    )  # fmt: skip
    assert ratio_interval(widget, holdout) == pytest.approx(theirs, rel=1e-6)


# Not beside statsmodels: its likeliest rates of a difference leave [0, 1] (0.15).
@pytest.mark.parametrize(("widget", "holdout"), ARMS)
def test_the_differences_interval_is_that_of_the_greatest_likelihood(widget, holdout):
    estimate = widget.rate - holdout.rate

    def distance(difference):
        def unlikely(rate):
            pairs = ((widget, rate + difference), (holdout, rate))
            return -sum(
                xlogy(arm.added, p) + xlogy(arm.visitors - arm.added, 1 - p) for arm, p in pairs
            )

        bounds = max(0, -difference) + 1e-12, min(1, 1 - difference) - 1e-12
        rate = minimize_scalar(unlikely, bounds=bounds, method="bounded",
                               options={"xatol": 1e-12}).x  # fmt: skip
        variance = sum(
            p * (1 - p) / arm.visitors for arm, p in ((widget, rate + difference), (holdout, rate))
        )
        return abs(estimate - difference) / sqrt(variance) - boundary(information(widget, holdout))

    low, high = difference_interval(widget, holdout)
    assert low == pytest.approx(brentq(distance, -0.999, estimate - 1e-6), abs=1e-6)
    assert high == pytest.approx(brentq(distance, estimate + 1e-6, 0.999), abs=1e-6)


@pytest.mark.parametrize(("widget", "holdout"), ARMS)
def test_both_intervals_tell_the_same_about_no_difference(widget, holdout):
    for added in range(holdout.added, holdout.visitors, max(1, holdout.visitors // 50)):
        other = Arm(holdout.visitors, added)
        difference, ratio = difference_interval(widget, other), ratio_interval(widget, other)
        assert (difference[0] <= 0 <= difference[1]) == (ratio[0] <= 1 <= ratio[1])


def test_the_boundary_is_that_of_the_normal_mixture_at_its_best_for_the_chosen_number():
    def plain(adds, squared):
        """As the paper has it, in standard errors."""
        return sqrt(
            (adds * squared + 1) / (adds * squared) * log((adds * squared + 1) / MISTAKES**2)
        )

    best = minimize_scalar(lambda r: plain(NARROWEST, exp(r)), bounds=(-15, 0), method="bounded")
    assert boundary(NARROWEST) == pytest.approx(best.fun, rel=1e-3)
    for adds in (1, 20, 1e3, 1e6):
        assert boundary(adds) == pytest.approx(plain(adds, exp(best.x)), rel=0.02)


@pytest.mark.parametrize("held_back", [0, 400, 900, 1_000, 1_090, 5_000])
def test_the_sizes_are_compared_as_scipy_does(held_back):
    theirs = chisquare([held_back, 10_000 - held_back], [1_000, 9_000]).pvalue
    assert sample_ratio(10_000 - held_back, held_back, 0.1) == pytest.approx(theirs, rel=1e-9)


def test_nothing_is_said_where_there_is_nothing():
    for widget, holdout in [(Arm(0, 0), Arm(9, 1)), (Arm(9, 1), Arm(0, 0)), (Arm(9, 0), Arm(9, 0)),
                            (Arm(9, 9), Arm(9, 9))]:  # fmt: skip
        assert difference_interval(widget, holdout) is None
        assert ratio_interval(widget, holdout) is None
        assert covers(widget, holdout, 0.5)
    assert ratio_interval(Arm(100, 0), Arm(100, 9)) is None
    assert difference_interval(Arm(100, 0), Arm(100, 9)) is not None
    assert sample_ratio(0, 0, 0.1) == 1.0
    assert detectable(1, 0.1, 0.05) is None
    assert detectable(10, 0.1, 0.05) is None
    assert detectable(10_000, 0.1, 0.0) is None


# Each draws the same experiments each time. The long version: python -m tests.simulations
@pytest.mark.parametrize(
    "world", [World(3_000, 0.01, 0.1), World(3_000, 0.1, 0.1), World(3_000, 0.5, 0.02)]
)
def test_without_an_effect_few_experiments_ever_show_one(world):
    assert 0 < world.shown(400, seed=5) <= MISTAKES


@pytest.mark.parametrize("world", [World(3_000, 0.1, 0.02, 0.0035), World(20_000, 0.01, 0.1, 0.05)])
def test_the_interval_covers_the_truth_at_all_looks(world):
    assert 0 < world.missed(400, seed=5) <= MISTAKES


@pytest.mark.parametrize("world", [World(1_000, 0.1, 0.05, 0.009), World(1_000, 0.5, 0.05, 0.005)])
def test_a_true_effect_is_found_as_often_as_theory_says(world):
    expected = world.power()
    assert 0.3 < expected < 0.98  # or it would be no test
    assert world.shown(500, seed=5) == pytest.approx(expected, abs=0.06)  # three standard errors


@pytest.mark.parametrize(("share", "rate"), [(0.1, 0.05), (0.5, 0.02), (0.01, 0.1)])
def test_what_would_show_does(share, rate):
    effect = detectable(90 * 5_000, share, rate)
    found = World(5_000, share, rate, effect).shown(300, seed=5)
    assert POWER - 0.07 < found < POWER + 0.12  # earlier looks find some that the last one misses


def test_the_alarm_of_the_sizes_goes_off_at_its_rate():
    for share in (0.01, 0.1, 0.5):
        assert alarms(50_000, 5, visitors=20_000, share=share) == pytest.approx(0.001, abs=0.0005)
