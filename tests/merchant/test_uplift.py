import pytest

from app.merchant.uplift import Group, Uplift


def test_the_interval_is_newcombes():
    # The paper's example (a): 56 of 70 against 48 of 80.
    low, high = Uplift(Group(70, 56), Group(80, 48)).interval
    assert (round(low, 4), round(high, 4)) == (0.0524, 0.3339)


@pytest.mark.parametrize(
    ("tried", "words"), [(400, "more often"), (150, "less often"), (210, "No clear difference")]
)
def test_the_words_follow_the_interval(tried, words):
    assert words in Uplift(Group(1000, tried), Group(1000, 210)).words
