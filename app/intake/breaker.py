"""Skipping a journal that failed, for a short, growing while."""

import logging
import threading
import time

_FIRST_PAUSE = 0.25  # s
_LONGEST_PAUSE = 3.0  # s; a failover is over in seconds

logger = logging.getLogger(__name__)


class CircuitBreaker:
    """Everyone may call while all is well. After a failure nobody may, until a pause is over; then
    one caller at a time tries, so that a server that hangs holds up one request and not all."""

    def __init__(self, *, is_skipping: bool = True) -> None:
        """With `is_skipping` False everyone may always call: the last journal is never skipped."""
        self._is_skipping = is_skipping
        self._lock = threading.Lock()
        self._pause = 0.0  # s; 0 while all is well
        self._pause_ends_at = 0.0  # monotonic
        self._is_tried = False
        self.since: float | None = None  # Unix seconds of the first failure

    def allow(self, *, after: float = 0.0) -> bool:
        """Whether to call now, or `after` so many seconds beyond the end of a pause. A caller that
        is let through records afterwards how it went."""
        with self._lock:
            if not self._pause:
                return True
            if not self._is_skipping:
                self._is_tried = True
                return True
            if self._is_tried or time.monotonic() < self._pause_ends_at + after:
                return False
            self._is_tried = True
            return True

    def record_failure(self) -> bool:
        """Returns whether this is the first failure after all was well."""
        with self._lock:
            if self._pause and not self._is_tried:
                return False  # the caller was on its way before the first failure
            is_first = not self._pause
            self._pause = min(self._pause * 2 or _FIRST_PAUSE, _LONGEST_PAUSE)
            self._pause_ends_at = time.monotonic() + self._pause
            self._is_tried = False
            self.since = self.since or time.time()
            return is_first

    def record_success(self) -> bool:
        """Returns whether this ends a pause."""
        if not self._pause:
            return False
        with self._lock:
            is_over = self._is_tried
            if is_over:
                self._pause, self._is_tried, self.since = 0.0, False, None
            return is_over


def log_return(journal: str) -> None:
    """To be called by whoever ends a pause."""
    logger.info("journal takes batches again", extra={"action": "journal_back", "journal": journal})
