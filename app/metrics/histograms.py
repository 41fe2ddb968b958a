"""How long things take, and how large they are: observations, counted in buckets.

To observe costs a request well under a microsecond. What a process has observed is carried to Redis
every few seconds (reporter.py) and added up there, over all processes and through their restarts.
"""

import threading
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
    bucket, then their sum. Safe to share between threads."""

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        self._bounds = metric.bounds
        self._lock = threading.Lock()
        self._pending: dict[Labels, list[float]] = {}

    def observe(self, value: float, *labels: str | int) -> None:
        slot = bisect_left(self._bounds, value)
        with self._lock:
            numbers = self._pending.get(labels) or self._add(labels)
            numbers[slot] += 1
            numbers[-1] += value

    def take(self) -> dict[Labels, list[float]]:
        """What was observed since the last call; the caller carries it on, or gives it back."""
        with self._lock:
            pending, self._pending = self._pending, {}
        return pending

    def give_back(self, taken: Mapping[Labels, list[float]]) -> None:
        with self._lock:
            for labels, numbers in taken.items():
                pending = self._pending.get(labels) or self._add(labels)
                pending[:] = [one + other for one, other in zip(pending, numbers, strict=True)]

    def _add(self, labels: Labels) -> list[float]:
        return self._pending.setdefault(labels, [0] * (len(self._bounds) + 2))
