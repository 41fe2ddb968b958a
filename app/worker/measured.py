"""What the worker measures of itself. It serves nothing: the figures go to Redis."""

import threading

from app.intake.nodes import Nodes
from app.metrics.histograms import COPIES, SIZES, STORES, Histograms
from app.metrics.reporter import Reporter


class Measured:
    """Several threads store."""

    def __init__(self, nodes: Nodes, *, revision: str) -> None:
        self._lock = threading.Lock()
        self._stores, self._copies = Histograms(STORES), Histograms(COPIES)
        self._sizes = Histograms(SIZES)
        histograms = [self._stores, self._copies, self._sizes]
        self.reporter = Reporter(nodes, histograms, kind="worker", revision=revision)

    def stored(self, seconds: float, events: int) -> None:
        """A transaction is committed."""
        with self._lock:
            self._stores.observe(seconds)
            self._sizes.observe(events)

    def copied(self, seconds: float) -> None:
        with self._lock:
            self._copies.observe(seconds)
