"""The one way in which batches become rows.

A plain COPY into the tables is the cheapest by far, and a repeated key is rare: so it is tried
first, and only on a unique violation the rows take the way of INSERT … ON CONFLICT.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from psycopg import Connection, sql
from psycopg.errors import InternalError_, UniqueViolation
from psycopg.pq import TransactionStatus

from app.batch.batch import BATCH_COLUMNS, EVENT_COLUMNS, Batch
from app.store import contexts
from app.store.contexts import Contexts
from app.store.kinds import product_as_properties, with_kind
from app.store.news import write_news
from app.store.rejected import Rejections

logger = logging.getLogger(__name__)

_BATCHES = sql.SQL("COPY stored_batches ({}) FROM STDIN").format(
    sql.SQL(", ").join(map(sql.Identifier, contexts.COLUMNS))
)
_WHOLE_BATCHES = sql.SQL("COPY stored_batches (shop_id, id, {}) FROM STDIN").format(
    sql.SQL(", ").join(map(sql.Identifier, BATCH_COLUMNS))
)
_EVENT_COLUMNS = sql.SQL("shop_id, {}, kind, batch_id").format(
    sql.SQL(", ").join(map(sql.Identifier, EVENT_COLUMNS))
)
_EVENTS = sql.SQL("COPY events ({}) FROM STDIN").format(_EVENT_COLUMNS)
_INCOMING = sql.SQL("COPY incoming_events ({}) FROM STDIN").format(_EVENT_COLUMNS)
# In the order in which lines are copied, or two writers with the same events lock each other out.
_INSERT_INCOMING = sql.SQL(
    "INSERT INTO events ({columns}) SELECT {columns} FROM incoming_events"
    ' ORDER BY shop_id::text COLLATE "C", occurred_at, insert_key, batch_id'
    " ON CONFLICT DO NOTHING RETURNING batch_id, insert_key"
).format(columns=_EVENT_COLUMNS)

# A batch with its shop's id, and the lines of its events; in the order of the batches' ids.
_Batches = dict[int, tuple[int, Batch, Sequence[bytes]]]
# Stores rows of events, with kinds or without; returns what of them was new, with its batches.
_Way = Callable[[Connection, _Batches, bool], _Batches]


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
        self._contexts = Contexts()

    def write(self, connection: Connection, batches: Sequence[Batch]) -> int:
        """Store the batches, all or none; returns how many events were new.

        Returns after the commit. psycopg.Error: nothing is stored, or, where the connection broke
        during the commit, perhaps all; writing again is always safe.
        """
        try:
            return self._write(connection, batches, _copy_all)
        except (UniqueViolation, InternalError_):  # as Citus passes on a node's refusal of a COPY
            return self._write(connection, batches, _write_around_conflicts)

    def _write(self, connection: Connection, batches: Sequence[Batch], way: _Way) -> int:
        shop_ids = self._resolve_shops(connection, {batch.shop for batch in batches})
        with self._transaction(connection):
            self._rejections.write(connection, batches)
            with_events = [batch for batch in batches if batch.events]
            if not with_events:
                return 0
            generation, has_kinds, ids = _begin_batches(connection, len(with_events))
            incoming: _Batches = {
                id_: (shop_ids[batch.shop], batch, batch.events)
                for id_, batch in zip(ids, with_events, strict=True)
            }
            started = time.perf_counter()
            stored = way(connection, incoming, has_kinds)
            written = self._write_batches(connection, generation, stored)
            self._on_copy(time.perf_counter() - started)
            write_news(connection, stored.values())
        if connection.info.transaction_status == TransactionStatus.IDLE:
            self._contexts.remember(generation, written)
        return sum(len(lines) for _, _, lines in stored.values())

    def _write_batches(
        self, connection: Connection, generation: int | None, batches: _Batches
    ) -> contexts.Rows:
        lines = ((shop_id, id_, batch.line) for id_, (shop_id, batch, _) in batches.items())
        rows = self._contexts.rows(connection, generation, lines)
        _copy(connection, _BATCHES, rows.narrow)
        _copy(connection, _WHOLE_BATCHES, rows.whole)
        return rows

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


def _begin_batches(connection: Connection, number: int) -> tuple[int | None, bool, list[int]]:
    """Keep contexts from being deleted until the transaction ends; returns their generation,
    whether events are stored with their kinds, and ids for so many batches."""
    [(_, generation, has_kinds, ids)] = connection.execute(
        "SELECT pg_advisory_xact_lock_shared(%s), pg_sequence_last_value('context_generations'),"
        " kinds_since() <= now(),"
        " (SELECT string_agg(nextval('batch_ids')::text, ',') FROM generate_series(1, %s))",
        [contexts.LOCK, number],
    )
    return generation, has_kinds, list(map(int, ids.split(",")))


def _copy_all(connection: Connection, incoming: _Batches, has_kinds: bool) -> _Batches:
    """UniqueViolation where an event is stored already."""
    _copy(connection, _EVENTS, _event_rows(incoming, has_kinds))
    return incoming


def _write_around_conflicts(
    connection: Connection, incoming: _Batches, has_kinds: bool
) -> _Batches:
    connection.execute("CREATE TEMP TABLE incoming_events (LIKE events) ON COMMIT DROP")
    _copy(connection, _INCOMING, _event_rows(incoming, has_kinds))
    new = {(id_, key.bytes) for id_, key in connection.execute(_INSERT_INCOMING)}
    stored: _Batches = {}
    for id_, (shop_id, batch, _) in incoming.items():
        keys = zip(batch.events, batch.keys, strict=True)
        if lines := [line for line, key in keys if (id_, key) in new]:
            stored[id_] = (shop_id, batch, lines)
    logger.info(
        "some events were stored before",
        extra={
            "action": "conflict",
            "events": sum(len(batch.events) for _, batch, _ in incoming.values()),
            "stored": len(new),
        },
    )
    return stored


def _event_rows(batches: _Batches, has_kinds: bool) -> list[bytes]:
    """In one order for all writers, and nearly that of the key."""
    rows = []
    for id_, (shop_id, batch, events) in batches.items():
        of_the_product = product_as_properties(batch.line)
        for event in events:
            line = with_kind(event, of_the_product) if has_kinds else event + b"\t\\N"
            rows.append(b"%d\t%b\t%d\n" % (shop_id, line, id_))
    return sorted(rows)


def _copy(connection: Connection, statement: sql.Composed, rows: list[bytes]) -> None:
    if not rows:
        return
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(b"".join(rows))
