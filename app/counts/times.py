"""Seconds from one step of the funnel to the next, on two scales.

Each time is counted on both, so that a median is found in two looks: the coarse one tells the first
digit and how many follow, in at most 64 buckets, the fine one tells three digits. Steps count from
0, so 1 stands for the time from the product page to the button.
"""

BUCKETS = 64  # of the coarse scale


def part(step: int, bucket: int) -> int:
    """Under which the fine times of a bucket are stored together."""
    return BUCKETS * step + bucket


def rounded(seconds: int) -> int:
    """To three digits, downwards."""
    return seconds if seconds < 1000 else seconds - seconds % 10 ** (len(str(seconds)) - 3)


def bucket_of(seconds: int) -> int:
    """0 for 0, then nine to a power of ten: one for each first digit."""
    return 9 * (len(text) - 1) + int(text[0]) if (text := str(seconds)) != "0" else 0
