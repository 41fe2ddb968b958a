"""What the worker measures of itself. It serves nothing: the figures go to Redis."""

from redis import Redis

from app.metrics.histograms import COPIES, SIZES, STORES, Histograms
from app.metrics.reporter import Reporter


class Measured:
    def __init__(self, client: Redis, *, revision: str) -> None:
        self._stores, self._copies = Histograms(STORES), Histograms(COPIES)
        self._sizes = Histograms(SIZES)
        histograms = [self._stores, self._copies, self._sizes]
        self.reporter = Reporter(client, histograms, kind="worker", revision=revision)

    def stored(self, seconds: float, events: int) -> None:
        """A transaction is committed."""
        self._stores.observe(seconds)
        self._sizes.observe(events)

    def copied(self, seconds: float) -> None:
        self._copies.observe(seconds)
