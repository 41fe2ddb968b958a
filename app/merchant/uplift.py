"""Two rates compared, with the words a merchant may use about them."""

from dataclasses import dataclass
from math import sqrt

_Z = 1.959964  # of the normal distribution, for 95 %
_FEWEST = 30  # visitors in each group before the words say more than "wait"


@dataclass(frozen=True)
class Group:
    visitors: int
    added: int

    @property
    def rate(self) -> float | None:
        return self.added / self.visitors if self.visitors else None


@dataclass(frozen=True)
class Uplift:
    """Visitors who tried something on against those who did not.

    Rates, the difference and its interval (95 %) are shares of 1, or None where a group is empty.
    """

    tried: Group
    others: Group

    @property
    def difference(self) -> float | None:
        if self.tried.rate is None or self.others.rate is None:
            return None
        return self.tried.rate - self.others.rate

    @property
    def interval(self) -> tuple[float, float] | None:
        """Newcombe's hybrid score interval, which holds for small groups and rates near 0 and 1.

        Source: Newcombe 1998, Interval estimation for the difference between independent
        proportions, method 10.
        """
        if self.difference is None:
            return None
        low1, high1 = _wilson(self.tried)
        low2, high2 = _wilson(self.others)
        rate1, rate2 = self.tried.rate or 0.0, self.others.rate or 0.0
        return (
            self.difference - sqrt((rate1 - low1) ** 2 + (high2 - rate2) ** 2),
            self.difference + sqrt((high1 - rate1) ** 2 + (rate2 - low2) ** 2),
        )

    @property
    def words(self) -> str:
        if self.interval is None or min(self.tried.visitors, self.others.visitors) < _FEWEST:
            return f"Too few visitors to compare yet. Each group needs at least {_FEWEST}."
        low, high = self.interval
        if low > 0:
            verdict = "Visitors who saw a try-on result added to the cart more often"
        elif high < 0:
            verdict = "Visitors who saw a try-on result added to the cart less often"
        else:
            return (
                "No clear difference. The interval includes zero, so chance alone could explain it."
            )
        return (
            f"{verdict} than those who saw the product page only. This is a comparison, not "
            "proof. People who try something on may have been closer to buying anyway."
        )


def _wilson(group: Group) -> tuple[float, float]:
    n, rate = group.visitors, group.rate or 0.0
    middle = rate + _Z**2 / (2 * n)
    spread = _Z * sqrt(rate * (1 - rate) / n + _Z**2 / (4 * n**2))
    scale = 1 + _Z**2 / n
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)
