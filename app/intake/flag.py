"""How processes that wait for the spool's file tell whoever has it: SQLite has no queue."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path


class Flag:
    """A shared lock on a file beside the spool's; `is_raised` sees those of other processes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = -1  # its descriptor

    def open(self) -> None:
        """Before all else, and after a fork. On a full disk there is none: nobody sees it."""
        if self._file < 0:
            with suppress(OSError):
                self._file = os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600)

    def raise_(self) -> None:
        self._lock(fcntl.LOCK_SH)

    def lower(self) -> None:
        self._lock(fcntl.LOCK_UN)

    def is_raised(self) -> bool:
        """By another process. Lowers that of this one."""
        is_free = self._lock(fcntl.LOCK_EX)
        if is_free:
            self.lower()
        return not is_free

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _lock(self, operation: int) -> bool:
        if self._file >= 0:
            try:
                fcntl.flock(self._file, operation | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        return True
