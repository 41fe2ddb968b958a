"""What the worker does beside storing and counting: webhooks' work, partitions ahead of time,
retention."""

import logging
import time
from collections.abc import Callable

from psycopg import Connection

from app.privacy.work import Work
from app.store.shops import mark_returned
from app.worker.duty import Duty, OwnConnection
from app.worker.upkeep import Retention, maintain

logger = logging.getLogger(__name__)

_EVERY = 1.0  # s between looks for work
_RETURNED_EVERY = 5.0  # s
_MAINTAIN_EVERY = 6 * 60 * 60.0  # s


class Housekeeping(Duty):
    """Several workers may keep house at once: each piece of work is safe to repeat."""

    name = "housekeeping"
    first_pause = 2.0
    longest_pause = 30.0

    def __init__(self, connect: Callable[[], Connection], work: Work, days: Retention) -> None:
        self._own = OwnConnection(connect)
        self._work = work
        self._days = days
        self._returned_at = self._maintained_at = float("-inf")

    def step(self) -> float:
        connection = self._own.get()
        is_busy = self._work.run_due(connection) is not None
        now = time.monotonic()
        if now - self._returned_at > _RETURNED_EVERY:
            _mark_returned(connection)
            self._returned_at = now
        if now - self._maintained_at > _MAINTAIN_EVERY:
            done = maintain(connection, self._days, lambda what, rows: None)
            logger.info("maintained", extra={"action": "maintained", "done": dict(done)})
            self._maintained_at = time.monotonic()
        return 0.0 if is_busy else _EVERY

    def let_go(self) -> None:
        self._own.close()
        self._work.close()


def _mark_returned(connection: Connection) -> None:
    for shop in mark_returned(connection):
        logger.info(
            "a shop has installed the app again",
            extra={"action": "installed_again", "shop": shop},
        )
