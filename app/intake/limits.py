"""Limits of events per minute, by shop and by visitor within it, counted in Redis.

Limiting by IP would throttle Shopify's proxy, and every shop with it.
"""

from dataclasses import dataclass

from app.intake import keys
from app.intake.submission import Submission

KEY_LIFETIME = 120  # s


class RateLimited(Exception):
    """The batch is over a limit; `retry_after` is in seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"over the rate limit for {retry_after} s")
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Limits:
    """Events per minute; 0 is no limit."""

    shop: int = 0
    visitor: int = 0

    def of(self, submission: Submission, partition: int, now: float) -> list[tuple[str, int]]:
        """The counters that a submission goes through, and their limits, in the order of asking: a
        visitor's events beyond the visitor's limit do not count against the shop."""
        if not submission.from_caller:
            return []
        shop, visitor = submission.batch.shop, submission.visitor
        limits = []
        if self.visitor and visitor:
            limits.append((keys.rate(partition, shop, now, visitor), self.visitor))
        if self.shop:
            limits.append((keys.rate(partition, shop, now), self.shop))
        return limits


def seconds_to_next_minute(now: float) -> int:
    return 60 - int(now % 60)
