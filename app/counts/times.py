"""Seconds from one step of the funnel to the next, as measures.

Each time is counted on two scales, so that a median is found in two looks: the coarse one tells
the first digit and how many follow, in at most 64 buckets, the fine one tells three digits. Steps
count from 0, so 1 stands for the time from the product page to the button.
"""

from typing import NamedTuple

BUCKETS = 64  # of the coarse scale
_COARSE = 10_000  # + 1,000 * step + bucket
_PER_STEP = 1_000
_FINE = 1_000_000  # * step + seconds


class Time(NamedTuple):
    """What an encoded time says; `number` is a bucket or the seconds, by its scale."""

    step: int
    number: int


def encode_bucket(step: int, bucket: int) -> int:
    return _COARSE + _PER_STEP * step + bucket


def encode_seconds(step: int, seconds: int) -> int:
    """`seconds` as `rounded` has them."""
    return _FINE * step + seconds


def decode(measure: int) -> Time:
    """Of either scale."""
    if measure >= _FINE:
        return Time(*divmod(measure, _FINE))
    return Time(*divmod(measure - _COARSE, _PER_STEP))


def rounded(seconds: int) -> int:
    """To three digits, downwards."""
    return seconds if seconds < 1000 else seconds - seconds % 10 ** (len(str(seconds)) - 3)


def bucket_of(seconds: int) -> int:
    """0 for 0, then nine to a power of ten: one for each first digit."""
    return 9 * (len(text) - 1) + int(text[0]) if (text := str(seconds)) != "0" else 0


def bucket_range(bucket: int) -> tuple[int, int]:
    """The seconds that `bucket_of` maps to `bucket`, the second excluded."""
    if bucket == 0:
        return 0, 1
    power, digit = divmod(bucket - 1, 9)
    return (digit + 1) * 10**power, (digit + 2) * 10**power


def bucket_seconds(bucket: int) -> range:
    """The rounded ones among them."""
    low, high = bucket_range(bucket)
    return range(low, high, 10 ** max(0, len(str(low)) - 3))
