"""The one way in which batches become rows.

A plain COPY into the tables is the cheapest by far, and a repeated key is rare: so it is tried
first, and only on a unique violation the rows take the way of INSERT … ON CONFLICT.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from psycopg import Connection, sql
from psycopg.errors import UniqueViolation
from psycopg.pq import TransactionStatus

from app.batch.batch import BATCH_COLUMNS, EVENT_COLUMNS, Batch
from app.store.rejected import Rejections
from app.store.unreported import enqueue_for_reports

logger = logging.getLogger(__name__)

_BATCHES = sql.SQL("COPY batches (shop_id, id, {}) FROM STDIN").format(
    sql.SQL(", ").join(map(sql.Identifier, BATCH_COLUMNS))
)
_EVENT_COLUMNS = sql.SQL("shop_id, {}, batch_id").format(
    sql.SQL(", ").join(map(sql.Identifier, EVENT_COLUMNS))
)
_EVENTS = sql.SQL("COPY events ({}) FROM STDIN").format(_EVENT_COLUMNS)
_INCOMING = sql.SQL("COPY incoming_events ({}) FROM STDIN").format(_EVENT_COLUMNS)
# In the order in which lines are copied, or two writers with the same events lock each other out.
_INSERT_INCOMING = sql.SQL(
    "INSERT INTO events ({columns}) SELECT {columns} FROM incoming_events"
    ' ORDER BY shop_id::text COLLATE "C", occurred_at, insert_key, batch_id'
    " ON CONFLICT DO NOTHING RETURNING batch_id"
).format(columns=_EVENT_COLUMNS)

# Stores rows of events, and those of the batches that have one; returns how many events were new.
_Way = Callable[[Connection, dict[int, bytes], list[bytes]], int]


class Writer:
    """Writes batches in transactions of its own. Safe to share between threads."""

    def __init__(
        self, *, statement_timeout: int, on_copy: Callable[[float], None] = lambda seconds: None
    ) -> None:
        """`statement_timeout` in milliseconds. `on_copy` is told how long the rows took."""
        self._on_copy = on_copy
        self._begin = f"BEGIN; SET LOCAL statement_timeout = {statement_timeout:d}"
        self._shop_ids: dict[str, int] = {}
        self._rejections = Rejections()

    def write(self, connection: Connection, batches: Sequence[Batch]) -> int:
        """Store the batches, all or none; returns how many events were new.

        Returns after the commit. psycopg.Error: nothing is stored, or, where the connection broke
        during the commit, perhaps all; writing again is always safe.
        """
        try:
            return self._write(connection, batches, _copy_all)
        except UniqueViolation:
            return self._write(connection, batches, _write_around_conflicts)

    def _write(self, connection: Connection, batches: Sequence[Batch], way: _Way) -> int:
        shop_ids = self._resolve_shops(connection, {batch.shop for batch in batches})
        with self._transaction(connection):
            self._rejections.write(connection, batches)
            with_events = [batch for batch in batches if batch.events]
            if not with_events:
                return 0
            ids = enqueue_for_reports(
                connection, [(shop_ids[batch.shop], batch) for batch in with_events]
            )
            parents: dict[int, bytes] = {}
            events: list[bytes] = []
            for batch_id, batch in zip(ids, with_events, strict=True):
                shop_id = shop_ids[batch.shop]
                parents[batch_id] = b"%d\t%d\t%b\n" % (shop_id, batch_id, batch.line)
                events += [b"%d\t%b\t%d\n" % (shop_id, e, batch_id) for e in batch.events]
            # In one order for all writers, and nearly that of the key.
            events.sort()
            started = time.perf_counter()
            stored = way(connection, parents, events)
            self._on_copy(time.perf_counter() - started)
            return stored

    @contextmanager
    def _transaction(self, connection: Connection) -> Iterator[None]:
        """As connection.transaction(), with its time limit in the same round trip."""
        if connection.info.transaction_status != TransactionStatus.IDLE:
            with connection.transaction():
                yield
            return
        connection.execute(self._begin)
        try:
            yield
        except BaseException:
            if not connection.closed:
                connection.rollback()
            raise
        connection.commit()

    def _resolve_shops(self, connection: Connection, domains: set[str]) -> dict[str, int]:
        unknown = sorted(domains - self._shop_ids.keys())
        if not unknown:
            return self._shop_ids
        connection.execute(
            "INSERT INTO shops (domain) SELECT unnest(%s::text[]) ON CONFLICT DO NOTHING", [unknown]
        )
        found: dict[str, int] = dict(
            connection.execute("SELECT domain, id FROM shops WHERE domain = ANY(%s)", [unknown])
        )
        # Within the caller's transaction the new shops may yet be rolled back: an id remembered
        # from there would put later events under a shop that does not exist.
        if connection.info.transaction_status == TransactionStatus.IDLE:
            self._shop_ids.update(found)
        return self._shop_ids | found


def _copy_all(connection: Connection, parents: dict[int, bytes], events: list[bytes]) -> int:
    """UniqueViolation where an event is stored already."""
    _copy(connection, _EVENTS, events)
    _copy(connection, _BATCHES, parents.values())
    return len(events)


def _write_around_conflicts(
    connection: Connection, parents: dict[int, bytes], events: list[bytes]
) -> int:
    connection.execute("CREATE TEMP TABLE incoming_events (LIKE events) ON COMMIT DROP")
    _copy(connection, _INCOMING, events)
    stored = connection.execute(_INSERT_INCOMING).fetchall()
    with_news = {row[0] for row in stored}
    _copy(connection, _BATCHES, [row for id_, row in parents.items() if id_ in with_news])
    logger.info(
        "some events were stored before",
        extra={"action": "conflict", "events": len(events), "stored": len(stored)},
    )
    return len(stored)


def _copy(connection: Connection, statement: sql.Composed, rows: Iterable[bytes]) -> None:
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(b"".join(rows))
