"""Keeps the merchants' reports up to date, beside the storing and at its own pace."""

import time
from collections.abc import Callable

from psycopg import Connection

from app.counts.rollups import count_new, seconds_behind
from app.worker.duty import Duty, OwnConnection

EVERY = 1.0  # s
_MAY_BE_BEHIND = 60.0  # s that counting may be behind while there is much to store
_LONGEST_REST = 5.0  # s, after a whole shop was counted again


class Reporting(Duty):
    """The storing goes first: while there is much to store, counting may fall behind by a minute,
    and it takes at most a quarter of the time. A fault here never holds the storing up."""

    name = "reporting"
    first_pause = longest_pause = 10.0

    def __init__(self, connect: Callable[[], Connection], is_busy: Callable[[], bool]) -> None:
        """`is_busy` says whether there is much to store just now."""
        self._own = OwnConnection(connect)
        self._is_busy = is_busy

    def step(self) -> float:
        started = time.monotonic()
        connection = self._own.get()
        if self._may_wait(connection) or not count_new(connection):
            return EVERY
        return min(3 * (time.monotonic() - started), _LONGEST_REST)

    def let_go(self) -> None:
        self._own.close()

    def _may_wait(self, connection: Connection) -> bool:
        return self._is_busy() and seconds_behind(connection) < _MAY_BE_BEHIND
