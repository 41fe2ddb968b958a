"""Keeps the merchants' reports up to date, beside the storing and at its own pace."""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import psycopg
from psycopg import Connection

from app.counts.rollups import count_new, seconds_behind

logger = logging.getLogger(__name__)

EVERY = 1.0  # s
_BEHIND = 60.0  # s that counting may be behind while there is much to store
_LONGEST_PAUSE = 5.0  # s, after a whole shop was counted anew
_PAUSE_AFTER_FAILURE = 10.0  # s


class Reporting(threading.Thread):
    """Counts until `stop`. The storing goes first: while there is much to store, counting may fall
    behind by a minute, and it takes at most a quarter of the time. A fault here never holds the
    storing up."""

    def __init__(
        self,
        connect: Callable[[], Connection],
        is_busy: Callable[[], bool],
        stop: threading.Event,
    ) -> None:
        super().__init__(name="reporting", daemon=True)
        self._connect = connect
        self._is_busy = is_busy
        self._stop_event = stop

    def run(self) -> None:
        connection: Connection | None = None
        pause = 0.0
        is_failing = False
        while not self._stop_event.wait(pause):
            started = time.monotonic()
            try:
                if connection is None or connection.closed:
                    connection = self._connect()
                counted = not self._may_wait(connection) and count_new(connection)
            except Exception as error:
                pause = _PAUSE_AFTER_FAILURE
                away = isinstance(error, psycopg.OperationalError)
                if not is_failing:  # once, and not a thousand times
                    logger.log(
                        logging.WARNING if away else logging.ERROR,
                        "the reports cannot be brought up to date, will try again",
                        exc_info=not away,
                        extra={"action": "reporting_waits", "cause": type(error).__name__},
                    )
                is_failing = True
                with suppress(psycopg.Error):
                    if connection is not None:
                        connection.close()
            else:
                is_failing = False
                took = time.monotonic() - started
                pause = min(3 * took, _LONGEST_PAUSE) if counted else EVERY
        if connection is not None:
            connection.close()

    def _may_wait(self, connection: Connection) -> bool:
        return self._is_busy() and seconds_behind(connection) < _BEHIND
