"""Limits of events and bytes a minute, by shop and by visitor within it, counted in Redis.

Limiting by IP would throttle Shopify's proxy, and every shop with it.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from app.intake import keys
from app.intake.submission import Submission

# s; a counter is not asked again once its minute is over.
KEY_LIFETIME = 60
# What a shop's batches without a visitor may use of its allowance, and its rejected events of its
# bytes: one part in so many.
_SHARE = 10
_EVENTS, _UNITS = 2**22, 2**31  # more than a minute brings
_UNIT = 64  # bytes
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


@dataclass(slots=True)
class Charges:
    """What a batch is charged for, in the order of asking: `valid` counters, then `rejected` ones.

    Over one of the first the batch is refused. Over one of the others its rejected events are not
    kept, and it is refused where it has no valid one.
    """

    counters: list[str] = field(default_factory=list)
    args: list[int] = field(default_factory=list)  # of each: what to add, most events, most units
    valid: int = 0
    rejected: int = 0

    def add(self, counter: str, events: int, size: int, most: Allowance) -> None:
        """A counter holds both numbers, events + 2**22 * units of 64 bytes: that costs Redis one
        command, and stays exact in Lua, whose numbers are doubles."""
        self.counters.append(counter)
        units = most.size and _units(most.size)
        self.args += (events + _EVENTS * _units(size), most.events or _EVENTS, units or _UNITS)


class Limits(NamedTuple):
    shop: Allowance = Allowance()
    visitor: Allowance = Allowance()
    rejected: int = 0  # rejected events of a shop; 0 is no limit

    def of(self, submission: Submission, partition: int, now: float) -> Charges:
        """What a submission is charged for. A visitor's events beyond the visitor's limit do not
        count against the shop, and rejected ones against neither."""
        charges = Charges()
        if not submission.from_caller:
            return charges
        shop = submission.batch.shop
        if events := submission.valid_count:
            visitor, size = submission.visitor, submission.size
            own = self.visitor if visitor else self.shop.share()
            if any(own):
                charges.add(keys.rate(partition, shop, now, visitor or _UNKNOWN), events, size, own)
            if any(self.shop):
                charges.add(keys.rate(partition, shop, now), events, size, self.shop)
            charges.valid = len(charges.counters)
        if events := submission.rejected_count:
            own = Allowance(self.rejected, self.shop.share().size)
            if any(own):
                size = len(submission.batch.rejected)
                charges.add(keys.rate(partition, shop, now, _REJECTED), events, size, own)
                charges.rejected = 1
        return charges


def _units(size: int) -> int:
    return -(-size // _UNIT)


def seconds_to_next_minute(now: float) -> int:
    return 60 - int(now % 60)
