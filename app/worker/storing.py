"""From stream entries to rows."""

from collections.abc import Callable

from psycopg import Connection

from app.batch.batch import Batch
from app.store.salvage import read_or_reject, write_isolating
from app.store.writer import Writer
from app.worker.consumer import Entry


class Storing:
    """Stores with one connection for each thread that calls it; a lost one is opened again."""

    def __init__(self, connect: Callable[[], Connection], writer: Writer) -> None:
        self._connect = connect
        self._writer = writer
        self._idle: list[Connection] = []

    def store(self, batches: list[Batch]) -> None:
        """Returns when all is committed. psycopg.Error: Postgres is away, call again later."""
        if not batches:
            return
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._connect()
        try:
            write_isolating(lambda part: self._writer.write(connection, part), batches)
        finally:
            if not connection.closed:
                self._idle.append(connection)

    def close(self) -> None:
        for connection in self._idle:
            connection.close()


def parse(entry: Entry) -> Batch:
    """The entry's batch; of an unreadable entry, a batch that puts it into rejected_events.
    NewerEntry."""
    return read_or_reject(entry.fields, f"entry {entry.id.decode()}")
