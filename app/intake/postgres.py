"""The second journal: Postgres, in the request."""

import threading
from contextlib import AbstractContextManager
from dataclasses import replace

from psycopg_pool import ConnectionPool

from app.batch.batch import Batch
from app.intake.breaker import CircuitBreaker
from app.intake.filter import Filter
from app.intake.outcomes import Outcomes
from app.intake.submission import Submission
from app.store.connections import BoundedConnection
from app.store.salvage import write_isolating
from app.store.writer import Writer


class Postgres:
    name = "store"  # as in INTAKE=store

    def __init__(
        self,
        pool: ConnectionPool[BoundedConnection],
        writer: Writer,
        filter_: Filter,
        outcomes: Outcomes,
    ) -> None:
        self.breaker = CircuitBreaker()
        self._pool = pool
        self._writer = writer
        self._filter = filter_
        self._outcomes = outcomes
        self._opening = threading.Lock()

    def append(self, submission: Submission) -> int:
        """Store the batch; returns how many of its events were seen before.

        RateLimited: no journal should take it. psycopg.Error or psycopg_pool's: ask the next
        journal. The batch may be stored after all, and the key will tell repeats.
        """
        batch, stored = submission.batch, 0
        with self._filter.unseen(submission) as unseen:
            if unseen or batch.rejected:
                stored = self._write(batch, unseen)
            self._filter.mark(batch)
        self._outcomes.count(
            {
                "accepted": stored,
                "duplicate": len(batch.events) + submission.repeats - stored,
                "rejected": submission.rejected_count,
            }
        )
        return len(batch.events) - stored

    def connection(self, timeout: float | None = None) -> AbstractContextManager[BoundedConnection]:
        """A connection of the pool, for which a request waits no longer than the pool says, or
        `timeout` seconds. psycopg.Error or psycopg_pool's."""
        self._open()
        return self._pool.connection(timeout)

    def ping(self) -> None:
        """psycopg.Error or psycopg_pool's: Postgres does not answer in time."""
        with self.connection():
            pass  # the pool has just checked it

    def close(self) -> None:
        self._pool.close()

    def _write(self, batch: Batch, unseen: list[bytes]) -> int:
        rest = replace(batch, events=unseen)
        with self.connection() as connection:
            return write_isolating(lambda part: self._writer.write(connection, part), [rest])

    def _open(self) -> None:
        # Not before the first use: a pool's threads do not live on after gunicorn's fork.
        if self._pool.closed:
            with self._opening:
                if self._pool.closed:
                    self._pool.open()
