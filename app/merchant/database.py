"""The reports' own connections: a report may take longer than a tracked batch may wait."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TypeVar

from psycopg import Connection, InterfaceError, IsolationLevel, OperationalError
from psycopg.errors import QueryCanceled
from psycopg_pool import ConnectionPool, TooManyRequests

from app.counts.planner import PREFER_INDEXES
from app.store.connections import connect, report_pool
from config.causes import cause

logger = logging.getLogger(__name__)

READ_TIMEOUT = 20_000  # ms
_EXPORTS = 4  # at once in a process, one of a shop; each holds a connection while it is read
_EXPORT_WAIT = 2.0  # s; a caller has the last byte of an export a little before we end it


T = TypeVar("T")


class Busy(Exception):
    """An export of the shop is running, or as many of others as may run at once."""


class Database:
    """What merchants read may come from a replica. Where that is away, or would hold its recovery
    up (a conflict), it comes from the primary."""

    def __init__(self, database_url: str, replica_url: str = "") -> None:
        """Connects at the first use, after gunicorn's fork."""
        self._url = database_url
        self._replica_url = replica_url
        self._pool: ConnectionPool[Connection] = report_pool(database_url)
        self._replica_pool = report_pool(replica_url, for_reading=True) if replica_url else None
        self._opening = threading.Lock()
        self._exports: set[str] = set()  # the shops
        self._export_ended = threading.Condition()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction. psycopg.Error, PoolTimeout or TooManyRequests where Postgres is away."""
        with self._transaction(self._pool) as connection:
            yield connection

    def read(self, use: Callable[[Connection], T]) -> T:
        """What `use` returns, given one snapshot for all that it reads. It may be called twice.
        Raises what `writing` does."""
        if self._replica_pool is not None:
            try:
                with self._snapshot(self._replica_pool) as connection:
                    return use(connection)
            except (OperationalError, InterfaceError) as error:
                _log_or_raise(error)
        with self._snapshot(self._pool) as connection:
            return use(connection)

    @contextmanager
    def exporting(self, shop: str, use: Callable[[Connection], T]) -> Iterator[T]:
        """What `use` returns, given one snapshot on a connection outside of the pool, which stays
        open for as long as the block takes, on whichever threads. `use` may be called twice. Busy.
        """
        with self._export_ended:
            if not self._export_ended.wait_for(lambda: self._has_room(shop), _EXPORT_WAIT):
                raise Busy
            self._exports.add(shop)
        with ExitStack() as stack:
            stack.callback(self._end_export, shop)
            yield self._begin_export(stack, use)

    def _has_room(self, shop: str) -> bool:
        return shop not in self._exports and len(self._exports) < _EXPORTS

    def _end_export(self, shop: str) -> None:
        with self._export_ended:
            self._exports.remove(shop)
            self._export_ended.notify_all()

    def _begin_export(self, stack: ExitStack, use: Callable[[Connection], T]) -> T:
        if self._replica_url:
            try:
                with ExitStack() as replica:
                    connection = connect(self._replica_url, "export", for_reading=True)
                    found = use(replica.enter_context(_long_snapshot(connection)))
                    stack.push(replica.pop_all())
            except (OperationalError, InterfaceError) as error:
                _log_or_raise(error)
            else:
                return found
        return use(stack.enter_context(_long_snapshot(connect(self._url, "export"))))

    def close(self) -> None:
        self._pool.close()
        if self._replica_pool is not None:
            self._replica_pool.close()

    @contextmanager
    def _transaction(self, pool: ConnectionPool[Connection]) -> Iterator[Connection]:
        with self._opening:
            if pool.closed:
                pool.open()
        with pool.connection() as connection, connection.transaction():
            connection.execute(f"SET LOCAL statement_timeout = {READ_TIMEOUT}".encode())
            yield connection

    @contextmanager
    def _snapshot(self, pool: ConnectionPool[Connection]) -> Iterator[Connection]:
        with self._transaction(pool) as connection:
            # Starting parallel workers takes longer than these queries do. All in one message.
            connection.execute(
                "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY;"
                " SET LOCAL max_parallel_workers_per_gather = 0; SET LOCAL jit = off;"
                f" {PREFER_INDEXES}".encode(),
                prepare=False,
            )
            yield connection


@contextmanager
def _long_snapshot(connection: Connection) -> Iterator[Connection]:
    with connection:
        connection.isolation_level = IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        with connection.transaction():
            yield connection


def _log_or_raise(error: OperationalError | InterfaceError) -> None:
    """A replica is away, or cancelled what would hold its recovery up. Raises where it is neither:
    then the primary would have no better answer."""
    if isinstance(error, QueryCanceled | TooManyRequests):
        raise error
    logger.warning(
        "the replica could not be read; reading from the primary",
        extra={"action": "replica_skipped", "cause": cause(error)},
    )
