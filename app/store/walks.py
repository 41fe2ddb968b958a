"""Walking over the large tables a piece at a time.

A short statement for each piece, along the tables' keys: no index is there for this alone, and
nothing is locked for long.
"""

from collections.abc import Callable, Iterator
from typing import Any, LiteralString, TypeVar

from psycopg import Connection, Cursor, sql

from app.store.distribute import is_distributed

Progress = Callable[[str, int], None]  # which table is gone through, and how many rows more of it

WINDOW_ROWS = 20_000  # that one statement reads
STEP_ROWS = 5_000  # that one statement changes

_T = TypeVar("_T")


def partitions(connection: Connection) -> list[str]:
    """The names of all partitions of events, the DEFAULT one too."""
    rows = connection.execute(
        "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid"
        " WHERE inhparent = 'events'::regclass ORDER BY relname"
    )
    return [row[0] for row in rows]


def event_windows(
    connection: Connection, shop_id: int, partition: str
) -> Iterator[tuple[sql.Composed, dict[str, Any]]]:
    """Conditions on `e` that walk over a shop's events in a partition, and their values."""
    table = sql.Identifier(partition)
    first: tuple[Any, Any] = ("-infinity", "00000000-0000-0000-0000-000000000000")
    while True:
        row = connection.execute(
            sql.SQL(
                "SELECT e.occurred_at::text, e.insert_key FROM {} AS e WHERE e.shop_id = %s"
                " AND (e.occurred_at, e.insert_key) > (%s::timestamptz, %s::uuid)"
                " ORDER BY e.shop_id, e.occurred_at, e.insert_key OFFSET %s LIMIT 1"
            ).format(table),
            [shop_id, *first, WINDOW_ROWS],
        ).fetchone()
        last = row or ("infinity", "ffffffff-ffff-ffff-ffff-ffffffffffff")
        condition = sql.SQL(
            "e.shop_id = %(shop_id)s"
            " AND (e.occurred_at, e.insert_key) > (%(after_at)s::timestamptz, %(after_key)s::uuid)"
            " AND (e.occurred_at, e.insert_key) <= (%(to_at)s::timestamptz, %(to_key)s::uuid)"
        ).format()
        bounds = {"after_at": first[0], "after_key": first[1], "to_at": last[0], "to_key": last[1]}
        yield condition, {"shop_id": shop_id, **bounds}
        if row is None:
            return
        first = (row[0], row[1])


def batch_windows(connection: Connection, shop_id: int) -> Iterator[tuple[int, int, int]]:
    """Batches with an id above the first number and up to the second; the third is how many."""
    after = 0
    while True:
        [(last, number)] = connection.execute(
            "SELECT max(id), count(*) FROM (SELECT id FROM batches"
            " WHERE shop_id = %s AND id > %s ORDER BY id LIMIT %s) AS next",
            [shop_id, after, WINDOW_ROWS],
        )
        if last is None:
            return
        yield after, last, number
        after = last


def delete_in_steps(
    connection: Connection,
    table: str,
    condition: LiteralString,
    values: dict[str, Any],
    deleted: Callable[[int], None] = lambda rows: None,
    *,
    shop_id: int | None = None,
    returning: LiteralString = "",
    returned: Callable[[list[tuple[Any, ...]]], None] = lambda rows: None,
) -> int:
    """Delete the rows for which `condition` with `values` holds, of one shop or of all; returns how
    many.

    `deleted` is told the rows of each step within its transaction, `returned` is given what
    `returning` lists of them.
    """
    change = sql.SQL("DELETE FROM {}").format(sql.Identifier(table))
    some = _some(connection, table, condition, shop_id)
    if not returning:
        return _in_steps(connection, change + some, values, lambda cursor: deleted(cursor.rowcount))

    def told(cursor: Cursor) -> None:
        returned(cursor.fetchall())
        deleted(cursor.rowcount)

    whole = change + some + sql.SQL(" RETURNING ") + sql.SQL(returning)
    return _in_steps(connection, whole, values, told)


def update_in_steps(
    connection: Connection,
    table: str,
    assignment: LiteralString,
    condition: LiteralString,
    values: dict[str, Any],
    updated: Callable[[int], None] = lambda rows: None,
) -> int:
    """The same for an update, after which `condition` must not hold any more."""
    change = sql.SQL("UPDATE {} SET {}").format(sql.Identifier(table), sql.SQL(assignment))
    some = _some(connection, table, condition, None)
    return _in_steps(connection, change + some, values, lambda cursor: updated(cursor.rowcount))


def _some(
    connection: Connection, table: str, condition: LiteralString, shop_id: int | None
) -> sql.Composed:
    """So many rows as one step changes. Of tables on several nodes, by their key; of one without a
    key all at once."""
    of_shop = sql.SQL("" if shop_id is None else "shop_id = {} AND ").format(sql.Literal(shop_id))
    parts = {
        "of_shop": of_shop,
        "condition": sql.SQL(condition),
        "table": sql.Identifier(table),
        "limit": sql.Literal(STEP_ROWS),
    }
    if not is_distributed(connection):
        return sql.SQL(
            " WHERE ctid = ANY(ARRAY("
            "SELECT ctid FROM {table} WHERE {of_shop}{condition} LIMIT {limit}))"
        ).format(**parts)
    if not (key := _key(connection, table)):
        return sql.SQL(" WHERE {of_shop}{condition}").format(**parts)
    # Each part of a table on several nodes has rows of the same ctid.
    return sql.SQL(
        " WHERE {of_shop}({key}) IN"
        " (SELECT {key} FROM {table} WHERE {of_shop}{condition} LIMIT {limit})"
    ).format(key=sql.SQL(", ").join(map(sql.Identifier, key)), **parts)


def _in_steps(
    connection: Connection,
    statement: sql.Composed,
    values: dict[str, Any],
    told: Callable[[Cursor], None],
) -> int:
    changed = 0
    while True:
        with connection.transaction():
            cursor = connection.execute(statement, values)
            told(cursor)
        changed += cursor.rowcount
        if cursor.rowcount < STEP_ROWS:
            return changed


def _key(connection: Connection, table: str) -> list[str]:
    """The columns of a table's key."""
    rows = connection.execute(
        "SELECT attname FROM pg_index JOIN pg_attribute ON attrelid = indrelid"
        " AND attnum = ANY(indkey) WHERE indrelid = to_regclass(%s) AND indisprimary"
        " ORDER BY attname <> 'shop_id', attnum",
        [table],
    )
    return [name for (name,) in rows]


def steps(items: list[_T]) -> Iterator[list[_T]]:
    """The items in parts that one statement may change."""
    for start in range(0, len(items), STEP_ROWS):
        yield items[start : start + STEP_ROWS]
