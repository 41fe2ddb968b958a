"""What is stored of a measure, and read back."""

from hypothesis import given
from hypothesis import strategies as st

from app.counts.measures import KINDS, SIDE_STEPS, STEPS, Dimension, Measure
from app.counts.times import (
    BUCKETS,
    bucket_of,
    bucket_range,
    bucket_seconds,
    decode,
    encode_bucket,
    encode_seconds,
    rounded,
)

LONGEST = 700_000  # s, more than the longest window
steps = st.integers(1, len(STEPS) - 1)


def test_the_numbers_that_counts_are_stored_under_do_not_change():
    assert [*map(int, Measure)] == [*range(15), 20]
    assert Measure.CART_ADDED == 7
    assert Measure.SAW_PAGE_ADDED_OR_RESULT == 14
    assert [*map(int, Dimension)] == [0, 1, 2, 3, 4, 5]
    assert KINDS["product_page:cart_add"] == 7
    assert [KINDS[name] for name in SIDE_STEPS] == [8, 9, 10]
    assert encode_bucket(3, 17) == 13_017
    assert encode_seconds(3, 95_400) == 3_095_400


@given(st.integers(0, LONGEST))
def test_the_two_scales_of_time_fit_together(seconds):
    low, high = bucket_range(bucket_of(seconds))
    assert low <= rounded(seconds) <= seconds < high
    assert rounded(seconds) in bucket_seconds(bucket_of(seconds))


@given(steps, st.integers(0, LONGEST))
def test_a_time_is_read_back_from_either_scale(step, seconds):
    bucket = bucket_of(seconds)
    assert bucket < BUCKETS
    assert decode(encode_bucket(step, bucket)) == (step, bucket)
    assert decode(encode_seconds(step, rounded(seconds))) == (step, rounded(seconds))
