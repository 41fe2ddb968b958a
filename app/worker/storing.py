"""From stream entries to rows."""

import time
from collections.abc import Callable

import psycopg

from app.batch.batch import Batch, UnreadableEntry
from app.store.connections import WORKER_FIRST_TIME, WORKER_TIME, BoundedConnection
from app.store.salvage import read_or_reject, write_isolating
from app.store.writer import Writer
from app.worker.consumer import Entry


class Storing:
    """Stores with one connection for each thread that calls it; a lost one is opened again."""

    def __init__(
        self,
        connect: Callable[[], BoundedConnection],
        writer: Writer,
        on_stored: Callable[[float, int], None] = lambda seconds, events: None,
    ) -> None:
        """`on_stored` is told how long a transaction took, and how many events it was of."""
        self._on_stored = on_stored
        self._connect = connect
        self._writer = writer
        self._patience = WORKER_FIRST_TIME
        self._idle: list[BoundedConnection] = []

    def store(self, batches: list[Batch]) -> None:
        """Returns when all is committed. psycopg.Error: Postgres is away, call again later."""
        if not batches:
            return
        started = time.perf_counter()
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._connect()
        try:
            write_isolating(lambda part: self._write(connection, part), batches)
        except BaseException:
            connection.close()  # the next one may lead to another server
            raise
        self._idle.append(connection)
        self._on_stored(time.perf_counter() - started, sum(len(batch.events) for batch in batches))

    def _write(self, connection: BoundedConnection, batches: list[Batch]) -> int:
        """A server that hangs is left after seconds; one that is slow has longer each time."""
        connection.deadline = time.monotonic() + self._patience
        try:
            written = self._writer.write(connection, batches)
        except psycopg.OperationalError:
            if time.monotonic() >= connection.deadline:
                self._patience = min(2 * self._patience, WORKER_TIME)
            raise
        self._patience = WORKER_FIRST_TIME
        return written

    def close(self) -> None:
        for connection in self._idle:
            connection.close()


def parse(entry: Entry) -> Batch:
    """The entry's batch; of an unreadable entry, a batch that puts it into rejected_events.
    NewerEntry."""
    try:
        return Batch.from_entry(entry.fields)
    except UnreadableEntry:
        return read_or_reject(entry.fields, f"entry {entry.id.decode()}")
