"""What became of the events, and why requests were refused: counts by name.

For every period: received = accepted + duplicate + rejected + rate_limited + not_stored.
The intake script counts what the stream takes, in the same step. All else is counted here and
travels with the next call of the script to the counts of the day.
"""

import threading
from collections import Counter
from collections.abc import Mapping


class Outcomes:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pending: Counter[str] = Counter()

    def count(self, numbers: Mapping[str, int]) -> None:
        with self._lock:
            self._pending.update(numbers)

    def take(self) -> dict[str, int]:
        """All that waits; the caller carries it on or gives it back with `count`."""
        with self._lock:
            pending, self._pending = self._pending, Counter()
        return {name: number for name, number in pending.items() if number}
