"""From stream entries to rows."""

from collections.abc import Callable

from psycopg import Connection

from app.batch.batch import Batch, UnreadableEntry
from app.store.salvage import unreadable, write_past_poison
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
            write_past_poison(lambda part: self._writer.write(connection, part), batches)
        finally:
            if not connection.closed:
                self._idle.append(connection)

    def close(self) -> None:
        for connection in self._idle:
            connection.close()


def parse(entry: Entry) -> Batch:
    """The entry's batch; of an unreadable entry, a batch that puts it into rejected_events."""
    try:
        return Batch.from_entry(entry.fields)
    except UnreadableEntry as error:
        shop = entry.fields.get(b"shop", b"").decode(errors="replace")
        text = b"\n".join(b"%b %b" % field for field in entry.fields.items())
        return unreadable(text, shop, f"entry {entry.id.decode()}: {error}")
