"""What an experiment's numbers allow to be said. Pure functions of counts; shares are of 1.

**Intervals that hold at every look.** A merchant looks as often as they like, and stops when they
like what they see. So the intervals are an asymptotic confidence sequence: with probability 0.95
the truth is within all of them at once. It is the score interval of two proportions, its critical
value taken from the normal mixture's boundary in intrinsic time, here the information about the
difference.

- Boundary: Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas, Time-uniform central limit theory and
  asymptotic confidence sequences, Annals of Statistics 52 (2024): the Lindeberg-type sequence, in
  intrinsic time, and the choice of rho for a time. https://arxiv.org/abs/2103.06476
- Score intervals of the difference and the ratio: Miettinen, Nurminen, Comparative analysis of two
  rates, Statistics in Medicine 4 (1985), without their factor N/(N-1).
- Sizes of the arms: Pearson's chi-square with one degree of freedom, see Fabijan et al.,
  Diagnosing sample ratio mismatch in online controlled experiments, KDD 2019.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from math import acos, copysign, cos, erfc, exp, log, pi, sqrt
from statistics import NormalDist

MISTAKES = 0.05  # of all experiments: those that are ever shown wrong
POWER = 0.8  # with which a difference that "would show" does
NARROWEST = 500  # adds, weighted as in `information`, at which the intervals are at their best
# 1 / rho². The boundary is lowest where information / _SCALE = -2 ln a + ln(1 - 2 ln a).
_SCALE = NARROWEST / (-2 * log(MISTAKES) + log(1 - 2 * log(MISTAKES)))
_Z_POWER = NormalDist().inv_cdf(POWER)
_STEPS = 40  # of a bisection: to 2e-12


@dataclass(frozen=True)
class Arm:
    """Visitors, and how many of them added to the cart."""

    visitors: int
    added: int

    @property
    def rate(self) -> float | None:
        return self.added / self.visitors if self.visitors else None


Interval = tuple[float, float]


def boundary(adds: float, mistakes: float = MISTAKES) -> float:
    """How many standard errors the truth is away from the estimate at most, at any time."""
    return sqrt((1 + _SCALE / adds) * log((1 + adds / _SCALE) / mistakes**2))


def information(widget: Arm, holdout: Arm) -> float:
    """The variance of the score, about the adds of the smaller arm where it is much smaller."""
    both = widget.visitors + holdout.visitors
    rate = (widget.added + holdout.added) / both
    return widget.visitors * holdout.visitors / both * rate * (1 - rate)


def difference_interval(widget: Arm, holdout: Arm, among: int = 1) -> Interval | None:
    """Of the share with the widget less the share without. `among` so many that are looked at
    together each has an equal part of the mistakes (Bonferroni). None where nothing can be said."""
    if not _can_compare(widget, holdout):
        return None
    estimate = widget.added / widget.visitors - holdout.added / holdout.visitors
    is_within = partial(covers, widget, holdout, mistakes=MISTAKES / among)
    return _edge(is_within, estimate, -1.0), _edge(is_within, estimate, 1.0)


def covers(widget: Arm, holdout: Arm, difference: float, mistakes: float = MISTAKES) -> bool:
    """Whether the interval has this difference in it; where there is none, it may be any."""
    if not _can_compare(widget, holdout):
        return True
    estimate = widget.added / widget.visitors - holdout.added / holdout.visitors
    rate = _rate_at_difference(widget, holdout, difference)
    variance = _variance(rate + difference, widget) + _variance(rate, holdout)
    limit = boundary(information(widget, holdout), mistakes)
    return abs(estimate - difference) <= limit * sqrt(variance)


def ratio_interval(widget: Arm, holdout: Arm) -> Interval | None:
    """Of the share with the widget over the share without; leaves 1 out where the interval of the
    difference leaves 0 out. None where nothing can be said, or an arm is without adds."""
    if not _can_compare(widget, holdout) or not (widget.added and holdout.added):
        return None
    rates = widget.added / widget.visitors, holdout.added / holdout.visitors
    limit = boundary(information(widget, holdout))

    def is_within(log_ratio: float) -> bool:
        ratio = exp(log_ratio)
        rate = _rate_at_ratio(widget, holdout, ratio)
        variance = _variance(ratio * rate, widget) + ratio**2 * _variance(rate, holdout)
        return abs(rates[0] - ratio * rates[1]) <= limit * sqrt(variance)

    estimate = log(rates[0] / rates[1])
    return exp(_edge(is_within, estimate, -20.0)), exp(_edge(is_within, estimate, 20.0))


@lru_cache(1_000)  # a shop's plan is the same all day
def detectable(visitors: float, share: float, rate: float) -> float | None:
    """The smallest rise over `rate`, the share who add without the widget, that shows among so many
    visitors with probability POWER. None where not even a rise to everybody would."""
    held_back, others = visitors * share, visitors * (1 - share)
    if not 0 < rate < 1 or min(held_back, others) < 1:
        return None

    def shows(difference: float) -> bool:
        higher = rate + difference
        pooled = (rate * held_back + higher * others) / visitors
        information = held_back * others / visitors * pooled * (1 - pooled)
        if information <= 0:
            return False
        spread = pooled * (1 - pooled) * (1 / held_back + 1 / others)
        shown_from = boundary(information) * sqrt(spread)
        error = sqrt(rate * (1 - rate) / held_back + higher * (1 - higher) / others)
        return difference >= shown_from + _Z_POWER * error

    highest = 1 - rate
    if not shows(highest):
        return None
    return _edge(shows, highest, 0.0)


def sample_ratio(widget: int, holdout: int, share: float) -> float:
    """The probability of arms at least so far from their shares, where all is well."""
    both = widget + holdout
    if not both:
        return 1.0
    expected = share * both
    square = (holdout - expected) ** 2 * (1 / expected + 1 / (both - expected))
    return erfc(sqrt(square / 2))


def _can_compare(widget: Arm, holdout: Arm) -> bool:
    return bool(widget.visitors and holdout.visitors and information(widget, holdout) > 0)


def _variance(rate: float, arm: Arm) -> float:
    return max(0.0, rate * (1 - rate)) / arm.visitors


def _rate_at_difference(widget: Arm, holdout: Arm, difference: float) -> float:
    """The likeliest share without the widget, were this the difference: a root of the cubic that
    the likelihood's derivative is (Miettinen, Nurminen 1985, appendix 1)."""
    both = widget.visitors + holdout.visitors
    added = widget.added + holdout.added
    square = (
        (widget.visitors + 2 * holdout.visitors) * difference - both - added
    ) / (3 * both)  # fmt: skip
    linear = ((holdout.visitors * difference - both - 2 * holdout.added) * difference + added) / (
        3 * both
    )
    constant = holdout.added * difference * (1 - difference) / both
    q = square**3 - 1.5 * square * linear + constant / 2
    p = copysign(sqrt(max(0.0, square**2 - linear)), q)
    if p == 0:
        return -square
    angle = (pi + acos(max(-1.0, min(1.0, q / p**3)))) / 3
    return min(1.0, max(0.0, 2 * p * cos(angle) - square))


def _rate_at_ratio(widget: Arm, holdout: Arm, ratio: float) -> float:
    """The same, were this the ratio: the smaller root of a quadratic."""
    a = (widget.visitors + holdout.visitors) * ratio
    b = ratio * (holdout.added + widget.visitors) + holdout.visitors + widget.added
    c = widget.added + holdout.added
    return 2 * c / (b + sqrt(max(0.0, b * b - 4 * a * c)))


def _edge(holds: Callable[[float], bool], inside: float, outside: float) -> float:
    """The last point on the way from `inside` to `outside` at which it holds."""
    if holds(outside):
        return outside
    for _ in range(_STEPS):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if holds(middle) else (inside, middle)
    return inside
