"""What became of the events, and why requests were refused: counts by name.

For every period: received = accepted + duplicate + rejected + rate_limited + not_stored; so what
was received is not counted but added up. The intake script counts what the stream takes, in the
same step. All else is counted here and travels with the next call of the script to the counts of
the day.
"""

import threading
import time
from collections import Counter
from collections.abc import Mapping

from app.batch.batch import Batch

EVENTS = ("accepted", "duplicate", "rejected", "rate_limited", "not_stored")


def with_received(counts: Mapping[str, int]) -> dict[str, int]:
    """The counts, and what they add up to."""
    received = sum(counts.get(name, 0) for name in EVENTS)
    return {"received": received, **counts} if received else dict(counts)


class Outcomes:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pending: Counter[str] = Counter()
        self._came: dict[str, float] = {}

    def count(self, numbers: Mapping[str, int]) -> None:
        with self._lock:
            self._pending.update(numbers)

    def take(self) -> dict[str, int]:
        """All that waits; the caller carries it on or gives it back with `count`."""
        if not self._pending:
            return {}
        with self._lock:
            pending, self._pending = self._pending, Counter()
        return {name: number for name, number in pending.items() if number}

    def came(self, batch: Batch) -> None:
        """Of a batch whose events were all seen before: no row will tell that its shop was here."""
        if batch.is_limited and not batch.rejected:  # else it came earlier, or leaves a row
            with self._lock:
                self._came[batch.shop] = time.time()

    def take_came(self) -> dict[str, float]:
        """When (Unix seconds) which of these shops came."""
        with self._lock:
            came, self._came = self._came, {}
        return came
