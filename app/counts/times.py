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


def code_of(step: int, seconds: int) -> int:
    """Both as one number of 16 bits, which no measure has; `step` from 1."""
    shift = max(0, len(str(seconds)) - 3)
    leading: int = seconds // 10**shift
    return step << 12 | shift << 10 | leading


def decoded(code: int) -> tuple[int, int]:
    """The step, and the seconds to three digits, downwards."""
    return code >> 12, (code & 1023) * (1, 10, 100, 1000)[code >> 10 & 3]


def bucket_of(seconds: int) -> int:
    """0 for 0, then nine to a power of ten: one for each first digit."""
    return 9 * (len(text) - 1) + int(text[0]) if (text := str(seconds)) != "0" else 0
