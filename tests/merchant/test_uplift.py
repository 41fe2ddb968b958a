"""The comparison's words and its interval, which must hold however often a merchant looks."""

import random

import pytest

from app.merchant.uplift import Group, Uplift


@pytest.mark.parametrize(
    ("tried", "words"), [(400, "more often"), (130, "less often"), (210, "No clear difference")]
)
def test_the_words_follow_the_interval(tried, words):
    assert words in Uplift(Group(1000, tried), Group(1000, 210)).words()


@pytest.mark.parametrize(
    ("tried", "others"),
    [
        ((30, 1), (3000, 0)),
        ((3000, 300), (3000, 9)),
        ((3000, 9), (3000, 300)),
        ((30, 30), (30, 15)),
        ((0, 0), (100, 50)),
    ],
)
def test_adds_are_asked_for_and_not_visitors(tried, others):
    uplift = Uplift(Group(*tried), Group(*others))
    assert uplift.interval is None
    assert "Too few adds" in uplift.words()


def test_ten_who_added_and_ten_who_did_not_are_enough():
    assert Uplift(Group(20, 10), Group(20, 10)).interval is not None
    assert Uplift(Group(20, 10), Group(19, 10)).interval is None


def test_the_interval_is_around_the_difference_and_within_all_and_none():
    uplift = Uplift(Group(100, 30), Group(400, 60))
    low, high = uplift.interval
    assert (low + high) / 2 == pytest.approx(uplift.difference) == pytest.approx(0.15)
    assert Uplift(Group(20, 10), Group(20, 10)).interval == (-1.0, 1.0)


def looks(draw, rates, visitors, days=90):
    """The comparison as it is seen on each day."""
    seen = [[0, 0], [0, 0]]
    for _ in range(days):
        for group, rate, number in zip(seen, rates, visitors, strict=True):
            group[0] += number
            group[1] += sum(draw.random() < rate for _ in range(number))
        yield Uplift(Group(*seen[0]), Group(*seen[1]))


@pytest.mark.parametrize("rate", [0.05, 0.2])
def test_without_a_difference_hardly_any_shop_ever_sees_one_in_90_looks(rate):
    draw = random.Random(rate)
    shops = 200
    wrong = sum(
        any(
            uplift.interval and not uplift.interval[0] <= 0 <= uplift.interval[1]
            for uplift in looks(draw, (rate, rate), (15, 60))
        )
        for _ in range(shops)
    )
    assert wrong <= 0.05 * shops


def test_a_true_difference_is_found():
    draw = random.Random(1)
    found = sum(list(looks(draw, (0.12, 0.06), (30, 90)))[-1].interval[0] > 0 for _ in range(50))
    assert found >= 45
