"""From stream entries to rows."""

from collections.abc import Callable

from psycopg import Connection

from app.intake.batch import Batch, UnreadableEntry
from app.store.salvage import unreadable, write_past_poison
from app.store.writer import Writer
from app.worker.consumer import Entry


class Storing:
    """Stores with one connection, opened again whenever it was lost."""

    def __init__(self, connect: Callable[[], Connection], writer: Writer) -> None:
        self._connect = connect
        self._writer = writer
        self._connection: Connection | None = None

    def connection(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = self._connect()
        return self._connection

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def store(self, batches: list[Batch]) -> None:
        """Returns when all is committed. psycopg.Error: Postgres is away, call again later."""
        if batches:
            write_past_poison(lambda part: self._writer.write(self.connection(), part), batches)


def parse(entry: Entry) -> Batch:
    """Also what cannot be read is a batch: one that tells so in rejected_events."""
    try:
        return Batch.from_entry(entry.fields)
    except UnreadableEntry as error:
        shop = entry.fields.get(b"shop", b"").decode(errors="replace")
        text = b"\n".join(b"%b %b" % field for field in entry.fields.items())
        return unreadable(text, shop, f"entry {entry.id.decode()}: {error}")
