"""What the worker does beside storing, in a thread of its own: webhooks' work, partitions ahead of
time, retention."""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import psycopg
from psycopg import Connection

from app.privacy.work import Work
from app.store.shops import mark_returned
from app.worker.upkeep import Retention, maintain

logger = logging.getLogger(__name__)

_EVERY = 1.0  # s between looks for work
_RETURNED_EVERY = 5.0  # s
_MAINTAIN_EVERY = 6 * 60 * 60.0  # s
_LONGEST_PAUSE = 30.0  # s


class Housekeeping(threading.Thread):
    """Several workers may keep house at once: each piece of work is safe to repeat."""

    def __init__(
        self,
        connect: Callable[[], Connection],
        work: Work,
        days: Retention,
        stop: threading.Event,
    ) -> None:
        super().__init__(name="housekeeping", daemon=True)
        self._connect = connect
        self._work = work
        self._days = days
        self._stopping = stop
        self._connection: Connection | None = None
        self._returned_at = self._maintained_at = float("-inf")

    def run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            try:
                busy = self._run_once()
                failures = 0
                pause = 0.0 if busy else _EVERY
            except Exception as error:
                failures += 1
                pause = min(2.0**failures, _LONGEST_PAUSE)
                is_away = isinstance(error, psycopg.OperationalError)
                if failures == 1 or not is_away:
                    logger.log(
                        logging.WARNING if is_away else logging.ERROR,
                        "housekeeping cannot go on, will try again",
                        exc_info=not is_away,
                        extra={"action": "housekeeping_waits", "cause": type(error).__name__},
                    )
                self._close()
            self._stopping.wait(pause)
        self._close()
        self._work.close()

    def _run_once(self) -> bool:
        """Whether there was something to do, and there may be more."""
        connection = self._open()
        busy = self._work.run_due(connection) is not None
        now = time.monotonic()
        if now - self._returned_at > _RETURNED_EVERY:
            for shop in mark_returned(connection):
                logger.info(
                    "a shop has installed the app again",
                    extra={"action": "installed_again", "shop": shop},
                )
            self._returned_at = now
        if now - self._maintained_at > _MAINTAIN_EVERY:
            done = maintain(connection, self._days, lambda what, rows: None)
            logger.info("maintained", extra={"action": "maintained", "done": dict(done)})
            self._maintained_at = time.monotonic()
        return busy

    def _open(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = self._connect()
        return self._connection

    def _close(self) -> None:
        with suppress(psycopg.Error):
            if self._connection is not None:
                self._connection.close()
        self._connection = None
