"""Seconds from one step of the funnel to the next, and over spans of several steps, on two scales.

Each time is counted on both, so that a median is found in two looks: the coarse one tells a bucket,
the fine one three digits. Steps count from 0, so 1 stands for the time from the product page to the
button; the spans come after the last step. A step's buckets are one for each first digit and number
of digits, a span's are the classes that the page shows.
"""

from bisect import bisect_right

from app.counts.measures import STEPS

BUCKETS = 64  # of the coarse scale
PAGE_TO_CART = len(STEPS)  # from the view that began the attempt to the add in the widget
CLICK_TO_RESULT = PAGE_TO_CART + 1  # from the attempt's first click of the button
SPANS = (PAGE_TO_CART, CLICK_TO_RESULT)

# Seconds at which each class but the first begins; of three digits at most.
CLASSES = (10, 30, 60, 2 * 60, 5 * 60, 15 * 60, 60 * 60, 6 * 60 * 60)


def part(step: int, bucket: int) -> int:
    """Under which the fine times of a bucket are stored together."""
    return BUCKETS * step + bucket


def rounded(seconds: int) -> int:
    """To three digits, downwards."""
    return seconds if seconds < 1000 else seconds - seconds % 10 ** (len(str(seconds)) - 3)


def bucket_of(step: int, seconds: int) -> int:
    """Of a span its class, from 0. Of a step 0 for 0, then nine to a power of ten."""
    if step >= PAGE_TO_CART:
        return bisect_right(CLASSES, seconds)
    return 9 * (len(text) - 1) + int(text[0]) if (text := str(seconds)) != "0" else 0
