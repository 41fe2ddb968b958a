"""Many experiments in a world whose truth is known, looked at each day."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from app.merchant.statistics import Arm, boundary, covers, sample_ratio

DAYS = 90
SHARES = (0.01, 0.1, 0.5)
RATES = (0.005, 0.02, 0.1)


@dataclass(frozen=True)
class World:
    """New visitors a day, the share held back, the share who add without the widget, and how many
    more with it."""

    daily: int
    share: float
    rate: float
    effect: float = 0.0

    def looks(self, experiments, seed):
        """Of each experiment the two arms on each of its days."""
        draw = np.random.default_rng(seed)
        visitors = draw.poisson(self.daily, (experiments, DAYS))
        held_back = draw.binomial(visitors, self.share)
        numbers = [
            visitors - held_back,
            draw.binomial(visitors - held_back, self.rate + self.effect),
            held_back,
            draw.binomial(held_back, self.rate),
        ]
        for days in np.stack([np.cumsum(number, axis=1) for number in numbers], axis=2).tolist():
            yield [(Arm(w, w_added), Arm(h, h_added)) for w, w_added, h, h_added in days]

    def share_of_experiments(self, experiments, seed, happens):
        """In which it happens at some look."""
        found = sum(
            any(happens(*arms) for arms in looks) for looks in self.looks(experiments, seed)
        )
        return found / experiments

    def shown(self, experiments, seed):
        """How many ever show a difference."""
        return self.share_of_experiments(experiments, seed, lambda w, h: not covers(w, h, 0.0))

    def missed(self, experiments, seed):
        """How many ever leave the truth out of their interval."""
        return self.share_of_experiments(
            experiments, seed, lambda w, h: not covers(w, h, self.effect)
        )

    def power(self):
        """The share of experiments that show the effect by the last day, in theory: of a Gaussian
        walk with this drift, the probability to have left the boundary at one of the looks, by
        numerical integration (Armitage, McPherson, Rowe 1969)."""
        held_back, others = self.share * self.daily, (1 - self.share) * self.daily
        pooled = self.rate + self.effect * (1 - self.share)
        spread = pooled * (1 - pooled)
        daily = held_back * others / self.daily * spread  # information of a day
        higher = self.rate + self.effect
        variance = self.rate * (1 - self.rate) / held_back + higher * (1 - higher) / others
        scale = variance / (spread * (1 / held_back + 1 / others))
        drift, deviation = self.effect / spread, np.sqrt(scale)  # of the score, for information
        density, points, step = None, None, None
        for day in range(1, DAYS + 1):
            limit = boundary(day * daily) * np.sqrt(day * daily)
            inside, width = np.linspace(-limit, limit, 401, retstep=True)
            if density is None:
                new = norm.pdf(inside, drift * daily, deviation * np.sqrt(daily))
            else:
                moves = norm.pdf(
                    inside[:, None] - points[None, :], drift * daily, deviation * np.sqrt(daily)
                )
                new = moves @ density * step
            density, points, step = new, inside, width
        return 1 - density.sum() * step


def alarms(experiments, seed, *, visitors, share):
    """How many sound the alarm of the arms' sizes, looked at once, though all is well."""
    held_back = np.random.default_rng(seed).binomial(visitors, share, experiments).tolist()
    found = sum(sample_ratio(visitors - held, held, share) < 0.001 for held in held_back)
    return found / experiments


WITHOUT_EFFECT = [
    World(daily, share, rate)
    for daily in (300, 3_000, 30_000)
    for share in SHARES
    for rate in RATES
]
WITH_EFFECT = [
    World(1_000, 0.1, 0.05, 0.009),
    World(1_000, 0.5, 0.05, 0.0055),
    World(3_000, 0.1, 0.02, 0.0035),
    World(10_000, 0.01, 0.05, 0.009),
    World(20_000, 0.5, 0.005, 0.0004),
    World(300, 0.2, 0.1, -0.018),
]
