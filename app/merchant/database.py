"""The reports' own connections: a report may take longer than a tracked batch may wait."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import Connection, IsolationLevel
from psycopg_pool import ConnectionPool

from app.store.connections import connect, report_pool

READ_TIMEOUT = 20_000  # ms
_EXPORTS = 1  # at once in a process; each holds a connection for as long as it takes
_EXPORT_WAIT = 2.0  # s; a caller has the last byte of an export a little before we end it


class Busy(Exception):
    """The most exports that may run at once are running."""


class Database:
    def __init__(self, database_url: str) -> None:
        """Connects at the first use, after gunicorn's fork."""
        self._url = database_url
        self._pool: ConnectionPool[Connection] = report_pool(database_url)
        self._opening = threading.Lock()
        self._exports = threading.BoundedSemaphore(_EXPORTS)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction. psycopg.Error, PoolTimeout or TooManyRequests where Postgres is away."""
        with self._opening:
            if self._pool.closed:
                self._pool.open()
        with self._pool.connection() as connection, connection.transaction():
            connection.execute(f"SET LOCAL statement_timeout = {READ_TIMEOUT}".encode())
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One snapshot for all that is read in the block."""
        with self.writing() as connection:
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            # Starting parallel workers takes longer than these queries do.
            connection.execute("SET LOCAL max_parallel_workers_per_gather = 0")
            connection.execute("SET LOCAL jit = off")
            yield connection

    @contextmanager
    def exporting(self) -> Iterator[Connection]:
        """One snapshot on a connection outside of the pool, for as long as it takes. Busy."""
        if not self._exports.acquire(timeout=_EXPORT_WAIT):
            raise Busy
        try:
            with connect(self._url, "export") as connection:
                connection.isolation_level = IsolationLevel.REPEATABLE_READ
                connection.read_only = True
                with connection.transaction():
                    yield connection
        finally:
            self._exports.release()

    def close(self) -> None:
        self._pool.close()
