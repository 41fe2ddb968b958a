"""Limits of events per minute, by shop and by visitor within it, counted in Redis.

By the peer's address would limit Shopify's proxy, and with it every shop at once.
"""

from dataclasses import dataclass

from app.batch.batch import Batch
from app.intake import keys

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

    def of(self, batch: Batch, partition: int, now: float) -> list[tuple[str, int]]:
        """The counters that the batch goes through, and their limits, in the order of asking: what
        one visitor has too much does not count against his shop."""
        if not batch.is_limited:
            return []
        limits = []
        if self.visitor and batch.visitor:
            limits.append((keys.rate(partition, batch.shop, now, batch.visitor), self.visitor))
        if self.shop:
            limits.append((keys.rate(partition, batch.shop, now), self.shop))
        return limits


def seconds_to_next_minute(now: float) -> int:
    return 60 - int(now % 60)
