"""Keeps the merchants' reports up to date, beside the storing and at its own pace."""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import psycopg
from psycopg import Connection

from app.merchant.rollups import count_new

logger = logging.getLogger(__name__)

EVERY = 1.0  # s
_LONGEST_PAUSE = 5.0  # s, after a whole shop was counted anew
_PAUSE_AFTER_FAILURE = 10.0  # s


class Reporting(threading.Thread):
    """Counts until `stop`, at most a quarter of the time while there is much to count, so that the
    storing goes first. A fault here never holds that up."""

    def __init__(self, connect: Callable[[], Connection], stop: threading.Event) -> None:
        super().__init__(name="reporting", daemon=True)
        self._connect = connect
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
                counted = count_new(connection)
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
