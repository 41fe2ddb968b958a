"""The one way in which batches become rows.

A plain COPY into the tables is the cheapest by far, and a repeated key is rare: so it is tried
first, and only on a unique violation the rows take the way of INSERT … ON CONFLICT.
"""

import logging
from collections.abc import Iterable, Sequence

from psycopg import Connection, sql
from psycopg.errors import UniqueViolation

from app.intake.batch import BATCH_COLUMNS, EVENT_COLUMNS, Batch
from app.store.rejected import write_rejected
from app.store.unreported import announce

logger = logging.getLogger(__name__)

_BATCHES = sql.SQL("COPY batches (shop_id, id, {}) FROM STDIN").format(
    sql.SQL(", ").join(map(sql.Identifier, BATCH_COLUMNS))
)
_EVENT_COLUMNS = sql.SQL("shop_id, batch_id, {}").format(
    sql.SQL(", ").join(map(sql.Identifier, EVENT_COLUMNS))
)
_EVENTS = sql.SQL("COPY events ({}) FROM STDIN").format(_EVENT_COLUMNS)
_INCOMING = sql.SQL("COPY incoming_events ({}) FROM STDIN").format(_EVENT_COLUMNS)
# In the order of the key, or two writers with the same events lock each other out for ever.
_INSERT_INCOMING = sql.SQL(
    "INSERT INTO events ({columns}) SELECT {columns} FROM incoming_events"
    " ORDER BY shop_id, occurred_at, insert_key, batch_id"
    " ON CONFLICT DO NOTHING RETURNING batch_id, insert_key"
).format(columns=_EVENT_COLUMNS)

_Row = tuple[int, int, bytes]  # shop_id, batch_id, line


class Writer:
    """Writes batches in transactions of its own. Safe to share between threads."""

    def __init__(self, *, statement_timeout: int) -> None:
        """`statement_timeout` in milliseconds."""
        self._statement_timeout = statement_timeout
        self._shop_ids: dict[str, int] = {}

    def write(self, connection: Connection, batches: Sequence[Batch]) -> int:
        """Store the batches, all or none; returns how many events were new.

        Returns after the commit. psycopg.Error: nothing is stored, or, where the connection broke
        during the commit, perhaps all; writing again is always safe.
        """
        shop_ids = self._resolve_shops(connection, {batch.shop for batch in batches})
        with connection.transaction():
            connection.execute(
                sql.SQL("SET LOCAL statement_timeout = {}").format(self._statement_timeout)
            )
            write_rejected(connection, batches)
            with_events = [batch for batch in batches if batch.events]
            if not with_events:
                return 0
            ids = announce(connection, [(shop_ids[batch.shop], batch) for batch in with_events])
            parents: dict[int, _Row] = {}
            events: list[_Row] = []
            for batch_id, batch in zip(ids, with_events, strict=True):
                shop_id = shop_ids[batch.shop]
                parents[batch_id] = (shop_id, batch_id, batch.line)
                events += [(shop_id, batch_id, line) for line in batch.events.values()]
            events.sort(key=lambda row: (row[0], row[2]))
            try:
                with connection.transaction():
                    _copy(connection, _EVENTS, events)
                    _copy(connection, _BATCHES, parents.values())
                    return len(events)
            except UniqueViolation:
                return _write_around_conflicts(connection, parents, events)

    def _resolve_shops(self, connection: Connection, domains: set[str]) -> dict[str, int]:
        unknown = sorted(domains - self._shop_ids.keys())
        if unknown:
            connection.execute(
                "INSERT INTO shops (domain) SELECT unnest(%s::text[]) ON CONFLICT DO NOTHING",
                [unknown],
            )
            rows = connection.execute(
                "SELECT domain, id FROM shops WHERE domain = ANY(%s)", [unknown]
            )
            self._shop_ids.update(rows)
        return self._shop_ids


def _write_around_conflicts(
    connection: Connection, parents: dict[int, _Row], events: Sequence[_Row]
) -> int:
    """Store the events that are new, and the batches that have such events."""
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


def _copy(connection: Connection, statement: sql.Composed, rows: Iterable[_Row]) -> None:
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(b"".join([b"%d\t%d\t%b\n" % row for row in rows]))
