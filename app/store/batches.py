"""Deleting batches. What they shared with others may have no batch any more then: it is noted here
where no trigger does so (app/store/unused_contexts.py)."""

from collections.abc import Callable, Collection, Iterable
from datetime import datetime
from typing import Any, LiteralString

from psycopg import Connection

from app.store.walks import delete_in_steps

_PARTS: LiteralString = "shop_id, browser_part, page_part"
_Row = tuple[Any, ...]


def delete_batches(
    connection: Connection,
    condition: LiteralString,
    values: dict[str, Any],
    deleted: Callable[[int], None],
    *,
    shop_id: int | None = None,
) -> int:
    """In steps, those of a shop or of all for which the condition holds; returns how many."""
    return delete_in_steps(
        connection, "stored_batches", condition, values, deleted,
        shop_id=shop_id, returning=_PARTS, returned=lambda rows: doubt(connection, rows),
    )  # fmt: skip


def delete_listed(connection: Connection, shop_id: int, ids: Collection[int]) -> int:
    return _delete(
        connection,
        "DELETE FROM stored_batches WHERE shop_id = %(shop)s AND id = ANY(%(ids)s::bigint[])",
        {"shop": shop_id, "ids": list(ids)},
    )


def delete_emptied(
    connection: Connection, shop_id: int, ids: Collection[int], events_end: datetime | None = None
) -> int:
    """Those that have no event any more; where `events_end` is told, theirs were all before it."""
    return _delete(
        connection,
        "DELETE FROM stored_batches WHERE shop_id = %(shop)s AND id = ANY(%(ids)s::bigint[])"
        " AND id NOT IN (SELECT batch_id FROM events WHERE shop_id = %(shop)s"
        "  AND batch_id = ANY(%(ids)s::bigint[])"
        "  AND occurred_at < coalesce(%(end)s::timestamptz, 'infinity'))",
        {"shop": shop_id, "ids": list(ids), "end": events_end},
    )


def doubt(connection: Connection, rows: Iterable[_Row]) -> None:
    """Note the contexts of batches that were deleted or changed: a shop and two parts each."""
    if _has_trigger(connection):
        return
    places = {(shop_id, part) for shop_id, *parts in rows for part in parts if part is not None}
    if places:
        connection.execute(
            "INSERT INTO doubted_contexts (shop_id, id)"
            " SELECT shop_id, id FROM unnest(%s::integer[], %s::integer[]) AS gone (shop_id, id)",
            [list(column) for column in zip(*sorted(places), strict=True)],
        )


def _delete(connection: Connection, statement: LiteralString, values: dict[str, Any]) -> int:
    with connection.transaction():
        rows = connection.execute(f"{statement} RETURNING {_PARTS}", values).fetchall()
        doubt(connection, rows)
    return len(rows)


def _has_trigger(connection: Connection) -> bool:
    row = connection.execute(
        "SELECT 1 FROM pg_trigger WHERE tgrelid = to_regclass('stored_batches')"
        " AND tgname = 'doubt_deleted'"
    ).fetchone()
    return row is not None
