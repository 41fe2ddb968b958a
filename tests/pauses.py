"""A stop that nobody waits for."""

import threading


class Pauses(threading.Event):
    """Notes each pause instead of making it, and is set with the last one of so many."""

    def __init__(self, most=None, passing=lambda seconds: None):
        """`passing` is told how much time is to pass."""
        super().__init__()
        self.noted, self._most, self._passing = [], most, passing

    def wait(self, timeout=None):
        self.noted.append(timeout)
        self._passing(timeout)
        if len(self.noted) == self._most:
            self.set()
        return self.is_set()
