"""How long things take, and how large they are: observations, counted in buckets.

To observe costs a request well under a microsecond. What a process has observed is carried to Redis
every few seconds (reporter.py) and added up there, over all processes and through their restarts.
"""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass

Labels = tuple[str | int, ...]


@dataclass(frozen=True)
class Metric:
    """`bounds` are the buckets' upper ends, each of them inclusive, in the unit of the name."""

    name: str
    help: str
    bounds: tuple[float, ...]
    labels: tuple[str, ...] = ()


REQUESTS = Metric(
    "genlook_request_duration_seconds",
    "From a request that is whole to its reply, by the route's name and the reply's status.",
    (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
    ("route", "status"),
)
_TRANSACTIONS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
STORES = Metric(
    "genlook_worker_store_duration_seconds",
    "From a worker's batches to their commit in Postgres, one transaction each.",
    _TRANSACTIONS,
)
COPIES = Metric(
    "genlook_worker_copy_duration_seconds",
    "The COPY of rows into Postgres within a worker's transaction.",
    _TRANSACTIONS,
)
SIZES = Metric(
    "genlook_worker_transaction_events",
    "Events in a worker's transaction.",
    (1, 10, 100, 1_000, 10_000, 50_000),
)
METRICS = (REQUESTS, STORES, COPIES, SIZES)


class Histograms:
    """One metric's observations in this process: for each set of labels how many there are in each
    bucket, then their sum. One thread observes and one carries on, without a lock between them."""

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        self._bounds = metric.bounds
        self._numbers: dict[Labels, list[float]] = {}
        self._taken: dict[Labels, list[float]] = {}  # of them

    def observe(self, value: float, *labels: str | int) -> None:
        numbers = self._numbers.get(labels)
        if numbers is None:
            numbers = self._numbers[labels] = self._none()
        numbers[bisect_left(self._bounds, value)] += 1
        numbers[-1] += value

    def take(self) -> dict[Labels, list[float]]:
        """What was observed since the last call; the caller carries it on, or gives it back."""
        news = {}
        for labels, numbers in self._numbers.copy().items():
            now, taken = numbers.copy(), self._taken.get(labels, self._none())
            if now != taken:
                news[labels] = [one - other for one, other in zip(now, taken, strict=True)]
                self._taken[labels] = now
        return news

    def give_back(self, news: Mapping[Labels, list[float]]) -> None:
        for labels, numbers in news.items():
            taken = self._taken[labels]
            self._taken[labels] = [one - other for one, other in zip(taken, numbers, strict=True)]

    def _none(self) -> list[float]:
        return [0] * (len(self._bounds) + 2)
