"""The time in the middle, found in counts of times."""

from collections import Counter
from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.counts import reading


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 3_000), min_size=1, max_size=30))
def test_the_middle_of_times_is_the_mean_of_the_one_or_two_there(times):
    numbers = Counter(times)
    middles = sorted(place for _, place in reading._middles({1: len(times)}))
    found = [reading._value_at(place, numbers)[0] for place in middles]
    assert sum(found) // len(found) == int(median(times))
    for place in range(1, len(times) + 1):
        value, below = reading._value_at(place, numbers)
        assert value == sorted(times)[place - 1]
        assert below == sum(time < value for time in times)
    with pytest.raises(ValueError, match="do not add up"):
        reading._value_at(len(times) + 1, numbers)
    assert reading._middles({1: 0}) == set()
