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


class Charge(NamedTuple):
    """What a batch adds to a counter in Redis, and what may be in it then.

    A counter holds both numbers: events + 2**22 * units of 64 bytes. That costs Redis one command,
    and stays exact in Lua, whose numbers are doubles.
    """

    counter: str
    events: int
    size: int  # bytes
    allowance: Allowance

    def args(self) -> tuple[int, int, int]:
        """For the scripts: what to add, the most events, the most units."""
        most = self.allowance
        amount = self.events + _EVENTS * _units(self.size)
        return amount, most.events or _EVENTS, _units(most.size) or _UNITS


class Charges(NamedTuple):
    """In the order of asking. Over the first ones a batch is refused. Over the others its rejected
    events are not kept, and it is refused where it has no valid one."""

    valid: list[Charge]
    rejected: list[Charge]

    def args(self) -> list[int]:
        return [number for charges in self for charge in charges for number in charge.args()]

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
        if events := submission.valid_count:
            visitor, size = submission.visitor, submission.size
            own = self.visitor if visitor else self.shop.share()
            if any(own):
                counter = keys.rate(partition, shop, now, visitor or _UNKNOWN)
                charges.valid.append(Charge(counter, events, size, own))
            if any(self.shop):
                counter = keys.rate(partition, shop, now)
                charges.valid.append(Charge(counter, events, size, self.shop))
        if events := submission.rejected_count:
            own = Allowance(self.rejected, self.shop.share().size)
            if any(own):
                counter = keys.rate(partition, shop, now, _REJECTED)
                size = len(submission.batch.rejected)
                charges.rejected.append(Charge(counter, events, size, own))
        return charges


def _units(size: int) -> int:
    return -(-size // _UNIT)


def seconds_to_next_minute(now: float) -> int:
    return 60 - int(now % 60)
