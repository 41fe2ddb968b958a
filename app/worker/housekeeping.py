"""What the worker does beside storing: partitions ahead of time, retention."""

import logging
import time
from datetime import UTC, datetime

from psycopg import Connection

from app.store.partitions import create_partitions
from app.store.rejected import delete_expired

EVERY = 60 * 60.0  # s

logger = logging.getLogger(__name__)


class Housekeeping:
    def __init__(self, *, rejected_retention_days: int) -> None:
        self._rejected_retention_days = rejected_retention_days
        self._done_at = float("-inf")

    def run_if_due(self, connection: Connection) -> None:
        """psycopg.Error: Postgres is away, it is due again the next time."""
        if time.monotonic() - self._done_at < EVERY:
            return
        for name in create_partitions(connection, datetime.now(UTC).date()):
            logger.info("partition made", extra={"action": "partition", "partition": name})
        deleted = delete_expired(connection, self._rejected_retention_days)
        if deleted:
            logger.info(
                "old rejected events deleted", extra={"action": "retention", "rows": deleted}
            )
        self._done_at = time.monotonic()
