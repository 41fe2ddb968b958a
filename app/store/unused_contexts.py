"""Contexts go with the last batch that shares them.

Triggers note the contexts of batches that were deleted or changed (`doubted_contexts`). Which of
them no batch has any more is found out while writers write; only what they wrote meanwhile is
looked at again while they are kept out, for a moment.
"""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date

from psycopg import Connection
from psycopg.errors import LockNotAvailable

from app.store import contexts
from app.store.walks import steps
from app.store.writers import WritersBusy

_LOCK_TIMEOUT = "500ms"  # writers queue up behind it
_TRIES = 20
_AT_ONCE = 50_000  # notes

# Batches that share a context were all received in its month.
_UNUSED = """
    SELECT id FROM contexts WHERE shop_id = %(shop)s AND month = %(month)s AND id = ANY(%(ids)s)
    AND NOT EXISTS (
        SELECT 1 FROM stored_batches WHERE shop_id = %(shop)s
        AND received_at >= %(month)s::timestamp AT TIME ZONE 'UTC'
        AND received_at < (%(month)s + interval '1 month') AT TIME ZONE 'UTC'
        AND browser_part = contexts.id
    ) AND NOT EXISTS (
        SELECT 1 FROM stored_batches WHERE shop_id = %(shop)s
        AND received_at >= %(month)s::timestamp AT TIME ZONE 'UTC'
        AND received_at < (%(month)s + interval '1 month') AT TIME ZONE 'UTC'
        AND page_part = contexts.id
    )"""
_DELETE = """
    DELETE FROM contexts WHERE shop_id = %(shop)s AND id = ANY(%(ids)s) AND id NOT IN (
        SELECT unnest(ARRAY[browser_part, page_part]) FROM stored_batches
        WHERE shop_id = %(shop)s AND id > %(last)s AND browser_part IS NOT NULL
    )"""


def delete_unused(connection: Connection, shop_id: int | None = None) -> int:
    """Delete the contexts, of a shop or of all, that no batch shares any more; returns how many.

    Safe to repeat and to run twice at once. WritersBusy: some are left for the next time.
    """
    shops = connection.execute(
        "SELECT DISTINCT shop_id FROM doubted_contexts"
        " WHERE %(shop)s::integer IS NULL OR shop_id = %(shop)s ORDER BY shop_id",
        {"shop": shop_id},
    ).fetchall()
    deleted = 0
    for (shop,) in shops:
        while doubts := connection.execute(
            "SELECT number, id, month FROM doubted_contexts LEFT JOIN contexts USING (shop_id, id)"
            " WHERE shop_id = %s ORDER BY number LIMIT %s",
            [shop, _AT_ONCE],
        ).fetchall():
            deleted += _settle(connection, shop, doubts)
    return deleted


def _settle(
    connection: Connection, shop_id: int, doubts: list[tuple[int, int, date | None]]
) -> int:
    last = _last_batch(connection)
    by_month: defaultdict[date, set[int]] = defaultdict(set)
    for _, id_, month in doubts:
        if month:
            by_month[month].add(id_)
    deleted = 0
    for month, doubted in by_month.items():
        for ids in steps(sorted(doubted)):
            wanted = {"shop": shop_id, "month": month, "ids": ids}
            unused = [id_ for (id_,) in connection.execute(_UNUSED, wanted)]
            if unused:
                deleted += _delete(connection, {"shop": shop_id, "ids": unused, "last": last})
    for numbers in steps([number for number, _, _ in doubts]):
        connection.execute(
            "DELETE FROM doubted_contexts WHERE shop_id = %s AND number = ANY(%s)",
            [shop_id, numbers],
        )
    return deleted


def _last_batch(connection: Connection) -> int:
    """The id of a batch up to which all batches are committed, or will never be."""
    with _without_writers(connection):
        [(last,)] = connection.execute("SELECT coalesce(pg_sequence_last_value('batch_ids'), 0)")
    return int(last)


def _delete(connection: Connection, values: dict[str, object]) -> int:
    with _without_writers(connection):
        deleted = connection.execute(_DELETE, values).rowcount
        if deleted:
            connection.execute("SELECT nextval('context_generations')")
    return deleted


@contextmanager
def _without_writers(connection: Connection) -> Iterator[None]:
    """A transaction that begins when the writers' have ended, and lets none begin. WritersBusy."""
    with connection.transaction():
        connection.execute("SELECT set_config('lock_timeout', %s, true)", [_LOCK_TIMEOUT])
        for _ in range(_TRIES):
            try:
                with connection.transaction():
                    connection.execute("SELECT pg_advisory_xact_lock(%s)", [contexts.LOCK])
                break
            except LockNotAvailable:
                continue
        else:
            raise WritersBusy
        yield
