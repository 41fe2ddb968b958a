"""Walking over a shop's rows along the tables' keys, a window at a time.

A short statement for each: no index is there for this alone, and nothing is locked for long.
"""

from collections.abc import Callable, Iterator
from typing import Any

from psycopg import Connection, sql

Progress = Callable[[str, int], None]  # which table is gone through, and how many rows more of it

SIZE = 20_000  # rows


def partitions(connection: Connection) -> list[str]:
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
            [shop_id, *first, SIZE],
        ).fetchone()
        last = row or ("infinity", "ffffffff-ffff-ffff-ffff-ffffffffffff")
        condition = sql.SQL(
            "e.shop_id = %(shop_id)s"
            " AND (e.occurred_at, e.insert_key) > (%(after_at)s::timestamptz, %(after_key)s::uuid)"
            " AND (e.occurred_at, e.insert_key) <= (%(to_at)s::timestamptz, %(to_key)s::uuid)"
        ).format()
        yield (
            condition,
            {
                "shop_id": shop_id,
                **{
                    "after_at": first[0],
                    "after_key": first[1],
                    "to_at": last[0],
                    "to_key": last[1],
                },
            },
        )
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
            [shop_id, after, SIZE],
        ).fetchone() or (None, 0)
        if last is None:
            return
        yield after, last, number
        after = last
