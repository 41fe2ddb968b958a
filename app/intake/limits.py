"""Limits of events and bytes a minute, by shop and by visitor within it, counted in Redis.

Limiting by IP would throttle Shopify's proxy, and every shop with it.
"""

from typing import NamedTuple

from app.intake import keys
from app.intake.submission import Submission

# s; a counter is not asked again once its minute is over.
KEY_LIFETIME = 60
# What a shop's batches without a visitor may use of its allowance, and its rejected events of its
# bytes: one part in so many.
_SHARE = 10
_UNKNOWN, _REJECTED = "unknown", "rejected"  # no visitor's digest


class RateLimited(Exception):
    """The batch is over a limit; `retry_after` is in seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"over the rate limit for {retry_after} s")
        self.retry_after = retry_after


class Allowance(NamedTuple):
    """What may be sent in a minute; 0 is no limit."""

    events: int = 0
    size: int = 0  # bytes of the bodies, unpacked

    def share(self) -> "Allowance":
        """A tenth; of a limit that is smaller than that, still one."""
        return Allowance(*(limit and max(1, limit // _SHARE) for limit in self))


class Charge(NamedTuple):
    """What a batch adds to a counter in Redis, and what may be in it then."""

    counter: str
    amount: int
    limit: int


class Charges(NamedTuple):
    """In the order of asking. Over the first ones a batch is refused. Over the others its rejected
    events are not kept, and it is refused where it has no valid one."""

    valid: list[Charge]
    rejected: list[Charge]

    def args(self) -> list[int]:
        """For the scripts: each amount and its limit."""
        return [number for charges in self for charge in charges for number in charge[1:]]

    def counters(self) -> list[str]:
        return [charge.counter for charges in self for charge in charges]


class Limits(NamedTuple):
    shop: Allowance = Allowance()
    visitor: Allowance = Allowance()
    rejected: int = 0  # rejected events of a shop; 0 is no limit

    def of(self, submission: Submission, partition: int, now: float) -> Charges:
        """What a submission is charged for. A visitor's events beyond the visitor's limit do not
        count against the shop, and rejected ones against neither."""
        charges = Charges([], [])
        if not submission.from_caller:
            return charges
        shop = submission.batch.shop

        def charge(
            to: list[Charge], allowance: Allowance, events: int, size: int, whose: str = ""
        ) -> None:
            if allowance.events:
                counter = keys.rate(partition, shop, now, whose)
                to.append(Charge(counter, events, allowance.events))
            if allowance.size:
                counter = keys.rate_bytes(partition, shop, now, whose)
                to.append(Charge(counter, size, allowance.size))

        if events := submission.valid_count:
            visitor = submission.visitor
            own = self.visitor if visitor else self.shop.share()
            charge(charges.valid, own, events, submission.size, visitor or _UNKNOWN)
            charge(charges.valid, self.shop, events, submission.size)
        if events := submission.rejected_count:
            own = Allowance(self.rejected, self.shop.share().size)
            charge(charges.rejected, own, events, len(submission.batch.rejected), _REJECTED)
        return charges


def seconds_to_next_minute(now: float) -> int:
    return 60 - int(now % 60)
