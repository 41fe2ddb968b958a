"""What the worker does for as long as it runs: the storing, the counting and the housekeeping are
one kind of loop, each with a step of its own."""

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress

import psycopg
from psycopg import Connection
from redis import RedisError

from config.causes import cause

logger = logging.getLogger(__name__)

_AWAY = (psycopg.OperationalError, psycopg.InterfaceError, RedisError, OSError)


class Duty(ABC):
    """Takes step after step until it is told to stop. A step that fails is tried again after a
    pause, and each failure in a row makes the pause longer."""

    name: str  # in log lines: "<name>_waits" and "<name>_goes_on"
    first_pause: float  # s, after a failure
    longest_pause: float  # s
    retried: tuple[type[Exception], ...] = (Exception,)  # any other error ends the duty
    _failed_with: type[Exception] | None = None
    _pause = 0.0

    @abstractmethod
    def step(self) -> float:
        """Do a piece of the work; returns how many seconds to pause, 0 where there may be more."""

    @abstractmethod
    def let_go(self) -> None:
        """Close what a failure may have broken; the next step opens it again. Also the end."""

    def run(self, stop: threading.Event) -> None:
        try:
            while not stop.wait(self._pause):
                try:
                    self._pause = self.step()
                except self.retried as error:
                    self._wait_after(error)
                else:
                    self._go_on()
        finally:
            self.let_go()

    def start(self, stop: threading.Event) -> threading.Thread:
        """Run in a thread beside the caller, which does not outlive the process."""
        thread = threading.Thread(target=self.run, args=[stop], name=self.name, daemon=True)
        thread.start()
        return thread

    def _wait_after(self, error: Exception) -> None:
        if type(error) is not self._failed_with:  # once, and not a thousand times
            _log_failure(self.name, error)
        pause = 2 * self._pause if self._failed_with else self.first_pause
        self._pause = min(pause, self.longest_pause)
        self._failed_with = type(error)
        self.let_go()

    def _go_on(self) -> None:
        if self._failed_with:
            logger.info("a duty goes on", extra={"action": f"{self.name}_goes_on"})
            self._failed_with = None


class OwnConnection:
    """A duty's connection to Postgres, opened when it is needed and again after it was lost."""

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._connection: Connection | None = None

    def get(self) -> Connection:
        """psycopg.Error: Postgres is away."""
        if self._connection is None or self._connection.closed:
            self._connection = self._connect()
        return self._connection

    def close(self) -> None:
        connection, self._connection = self._connection, None
        with suppress(psycopg.Error):
            if connection is not None:
                connection.close()


def _log_failure(name: str, error: Exception) -> None:
    is_away = isinstance(error, _AWAY)
    logger.log(
        logging.WARNING if is_away else logging.ERROR,
        "a duty failed and is tried again, nothing is lost",
        exc_info=not is_away,
        extra={"action": f"{name}_waits", "cause": cause(error)},
    )
