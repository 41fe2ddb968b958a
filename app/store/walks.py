"""Walking over the large tables a piece at a time.

A short statement for each piece, along the tables' keys: no index is there for this alone, and
nothing is locked for long.
"""

from collections.abc import Callable, Iterator
from typing import Any, LiteralString, TypeVar

from psycopg import Connection, sql

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
        last, number = connection.execute(
            "SELECT max(id), count(*) FROM (SELECT id FROM batches"
            " WHERE shop_id = %s AND id > %s ORDER BY id LIMIT %s) AS next",
            [shop_id, after, WINDOW_ROWS],
        ).fetchone() or (None, 0)
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
) -> int:
    """Delete the rows for which `condition` with `values` holds; returns how many.

    `deleted` is told the rows of each step within its transaction.
    """
    change = sql.SQL("DELETE FROM {}").format(sql.Identifier(table))
    return _in_steps(connection, change, table, condition, values, deleted)


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
    return _in_steps(connection, change, table, condition, values, updated)


def _in_steps(
    connection: Connection,
    change: sql.Composed,
    table: str,
    condition: LiteralString,
    values: dict[str, Any],
    told: Callable[[int], None],
) -> int:
    some = sql.SQL(
        " WHERE ctid = ANY(ARRAY(SELECT ctid FROM {table} WHERE {condition} LIMIT {limit}))"
    ).format(
        table=sql.Identifier(table), condition=sql.SQL(condition), limit=sql.Literal(STEP_ROWS)
    )
    statement = change + some
    changed = 0
    while True:
        with connection.transaction():
            rows = connection.execute(statement, values).rowcount
            told(rows)
        changed += rows
        if rows < STEP_ROWS:
            return changed


def steps(items: list[_T]) -> Iterator[list[_T]]:
    """The items in parts that one statement may change."""
    for start in range(0, len(items), STEP_ROWS):
        yield items[start : start + STEP_ROWS]
