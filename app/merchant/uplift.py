"""Two rates compared, with the words a merchant may use about them."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt

from app.counts.measures import Measure
from app.merchant.language import ENGLISH, Language
from app.merchant.statistics import MISTAKES, Arm, boundary, information

_FEWEST = 10  # who added, and who did not, in each group before the words say more than "wait"

Group = Arm  # here nobody has drawn who is in which


@dataclass(frozen=True)
class Uplift:
    """Visitors who tried something on against those who did not.

    Rates, the difference and its interval (95 %) are shares of 1, or None where nothing can be
    said yet.
    """

    tried: Group
    others: Group
    among: int = 1  # so many are looked at together

    @property
    def difference(self) -> float | None:
        if self.tried.rate is None or self.others.rate is None:
            return None
        return self.tried.rate - self.others.rate

    @property
    def has_enough(self) -> bool:
        """Adds, and visitors who did not add; whoever many visitors there are besides."""
        return all(
            _FEWEST <= group.added <= group.visitors - _FEWEST
            for group in (self.tried, self.others)
        )

    @property
    def interval(self) -> tuple[float, float] | None:
        """Holds at every look: with a probability of 0.95 the truth is within the intervals of all
        days, and of all that are looked at together, at once. An asymptotic confidence sequence, in
        the time of the information about the difference, with an equal part of the mistakes for
        each (Bonferroni).

        Source: Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas, Time-uniform central limit theory and
        asymptotic confidence sequences, Annals of Statistics 52 (2024), theorem 2.5.
        """
        if not self.has_enough or self.difference is None:
            return None
        limit = boundary(information(self.tried, self.others), MISTAKES / self.among)
        spread = limit * sqrt(_variance(self.tried) + _variance(self.others))
        return max(-1.0, self.difference - spread), min(1.0, self.difference + spread)

    def words(self, language: Language = ENGLISH) -> str:
        _ = language.gettext
        if self.interval is None:
            return _(
                "Too few adds to compare yet. Each group needs at least %(fewest)s visitors who"
                " added, and %(fewest)s who did not.",
                fewest=language.number(_FEWEST),
            )
        low, high = self.interval
        if low > 0:
            return _(
                "Visitors who saw a try-on result added to the cart more often than those who saw"
                " the product page only."
            )
        if high < 0:
            return _(
                "Visitors who saw a try-on result added to the cart less often than those who saw"
                " the product page only."
            )
        return _(
            "No clear difference. The interval includes zero, so chance alone could explain it."
        )


def caveat(language: Language, *, of_group: bool = False) -> str:
    if of_group:
        return language.gettext(
            "An observation, not proof: people who try something on may have been closer to buying"
            " anyway, and who looks at one group after another finds some that differ by chance."
        )
    return language.gettext(
        "An observation, not proof: people who try something on may have been closer to buying"
        " anyway."
    )


def _variance(group: Group) -> float:
    rate = group.rate or 0.0
    return rate * (1 - rate) / group.visitors


def uplift_of(numbers: Mapping[Measure, int]) -> Uplift:
    """Of visitors by measure."""
    tried = Group(numbers[Measure.TRIED], numbers[Measure.TRIED_ADDED])
    exposed = numbers[Measure.EXPOSED]
    return Uplift(tried, Group(exposed - tried.visitors, numbers[Measure.UNTRIED_ADDED]))
