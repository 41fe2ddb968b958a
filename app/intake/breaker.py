"""Leaving a journal alone that has failed, for a short, growing while."""

import threading
import time

_FIRST = 0.25  # s
_LONGEST = 5.0  # s


class Pause:
    """Closed while all is well. After a failure nobody calls, until the pause is over; then one
    caller at a time tries, so that a server which hangs costs one request a moment and not all."""

    def __init__(self, *, is_skipped: bool = True) -> None:
        """With `is_skipped` False all may call always: the last journal is never left alone."""
        self._is_skipped = is_skipped
        self._lock = threading.Lock()
        self._length = 0.0  # s, of the current pause; 0 while all is well
        self._over_at = 0.0  # monotonic
        self._is_tried = False
        self.since: float | None = None  # Unix seconds of the first failure

    def allows(self) -> bool:
        """Whether to call now. Who got a yes says afterwards how it went."""
        with self._lock:
            if not self._length:
                return True
            if not self._is_skipped:
                self._is_tried = True
                return True
            if self._is_tried or time.monotonic() < self._over_at:
                return False
            self._is_tried = True
            return True

    def failed(self) -> bool:
        """Returns whether this is the first failure after all was well."""
        with self._lock:
            now = time.monotonic()
            if self._length and not self._is_tried:
                return False  # one of those who were already on their way
            first = not self._length
            self._length = min(self._length * 2 or _FIRST, _LONGEST)
            self._over_at = now + self._length
            self._is_tried = False
            self.since = self.since or time.time()
            return first

    def succeeded(self) -> bool:
        """Returns whether this ends a pause."""
        if not self._length:
            return False
        with self._lock:
            ended = self._is_tried
            if ended:
                self._length, self._is_tried, self.since = 0.0, False, None
            return ended
