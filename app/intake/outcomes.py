"""What became of the events, and why requests were refused: counts by name.

For every period: received = accepted + duplicate + rejected + rate_limited + not_stored. So what
was received is not counted but added up. The intake script counts what the stream takes, in the
same step. Everything else is counted here, and the next call of the script carries it to the counts
of the day.
"""

import threading
from collections import Counter
from collections.abc import Mapping

EVENTS = ("accepted", "duplicate", "rejected", "rate_limited", "not_stored")


def with_received(counts: Mapping[str, int]) -> dict[str, int]:
    """The counts, and what they add up to."""
    received = sum(counts.get(name, 0) for name in EVENTS)
    return {"received": received, **counts} if received else dict(counts)


class Outcomes:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pending: Counter[str] = Counter()

    def count(self, numbers: Mapping[str, int]) -> None:
        with self._lock:
            self._pending.update(numbers)

    def take(self) -> dict[str, int]:
        """The counts so far; the caller carries them to Redis or gives them back with `count`."""
        if not self._pending:
            return {}
        with self._lock:
            pending, self._pending = self._pending, Counter()
        return {name: number for name, number in pending.items() if number}
