"""Deleting in Postgres: in steps of short transactions, each of which a repetition may follow."""

from collections import Counter
from collections.abc import Collection
from datetime import datetime
from functools import partial
from typing import Any

from psycopg import Connection, sql

from app.batch.visitor import VISITOR
from app.counts.rollups import keep_no_days, mark_dirty
from app.privacy.search import EventKey, Found
from app.store.batches import delete_batches, delete_emptied, delete_listed
from app.store.unused_contexts import delete_unused
from app.store.walks import Progress, delete_in_steps, event_windows, partitions, steps

# Lists of batches are cast to the column's type: only then does Postgres look them up by hash.

# Who asked, and the shop's own row stay as the proof.
_KEPT = ("shops", "privacy_requests", "privacy_failures", "webhook_deliveries")


def erase(connection: Connection, shop_id: int, found: Found, deleted: Progress) -> None:
    """Delete what was found; `deleted` is told within the transaction of each step. Batches go
    last, by which all else is found again should this be interrupted."""
    if found.batch_ids:
        _delete_events(connection, shop_id, found.batch_ids, deleted)
    for ids in steps(sorted(found.batch_ids)):
        with connection.transaction():
            deleted("batches", _delete_batches(connection, shop_id, ids))
    if found.events:
        with connection.transaction():
            events = sum(_delete_event(connection, shop_id, key) for key in found.events)
            deleted("events", events)
            deleted("batches", _delete_emptied(connection, shop_id, found.others))
    delete_unused(connection, shop_id)
    for ids in steps(found.rejected_ids):
        with connection.transaction():
            statement = "DELETE FROM rejected_events WHERE id = ANY(%s)"
            deleted("rejected_events", connection.execute(statement, [ids]).rowcount)


def count(connection: Connection, shop_id: int, found: Found, progress: Progress) -> Counter[str]:
    """What `erase` would delete."""
    number: Counter[str] = Counter(
        {
            "events": len(found.events),
            "batches": len(found.batch_ids),
            "rejected_events": len(found.rejected_ids),
        }
    )
    ids = list(found.batch_ids)
    for partition in partitions(connection) if ids else []:
        for window, bounds in event_windows(connection, shop_id, partition):
            [(events,)] = connection.execute(
                sql.SQL(
                    "SELECT count(*) FROM {} AS e WHERE {} AND e.batch_id = ANY(%(ids)s::bigint[])"
                ).format(sql.Identifier(partition), window),
                {**bounds, "ids": ids},
            )
            number["events"] += events
            progress("events", events)
    if found.events:
        number["batches"] += _count_emptied(connection, shop_id, found)
    return +number


def erase_shop(
    connection: Connection,
    shop: str,
    shop_id: int,
    before: datetime,
    deleted: Progress,
) -> None:
    """Delete all that the shop has sent before a time, and, where it has sent nothing since, its
    rows in every other table; `deleted` is told within the transaction of each step."""
    [(first_kept,)] = connection.execute(
        "SELECT min(id) FROM batches WHERE shop_id = %s AND received_at >= %s", [shop_id, before]
    )
    kept = 2**63 - 1 if first_kept is None else first_kept
    values: dict[str, Any] = {"shop": shop, "kept": kept, "before": before}
    for partition in partitions(connection):
        delete_in_steps(
            connection, partition, "batch_id < %(kept)s", values, partial(deleted, "events"),
            shop_id=shop_id,
        )  # fmt: skip
    delete_batches(
        connection, "id < %(kept)s", values, partial(deleted, "batches"), shop_id=shop_id
    )
    delete_in_steps(
        connection, "rejected_events", "shop_domain = %(shop)s AND received_at < %(before)s",
        values, partial(deleted, "rejected_events"),
    )  # fmt: skip
    delete_unused(connection, shop_id)
    if first_kept is None:
        for table, column in _tables_of_shops(connection):
            is_of_shop = column == "shop_id"
            delete_in_steps(
                connection, table, "true" if is_of_shop else "shop_domain = %(shop)s", values,
                partial(deleted, table), shop_id=shop_id if is_of_shop else None,
            )  # fmt: skip
    keep_no_days(connection, shop_id)
    mark_dirty(connection, shop_id)  # last: somebody may have been counting all the while


def count_shop(connection: Connection, shop: str, shop_id: int) -> Counter[str]:
    """What `erase_shop` would delete of the large tables."""
    [row] = connection.execute(
        "SELECT (SELECT count(*) FROM events WHERE shop_id = %(id)s),"
        " (SELECT count(*) FROM batches WHERE shop_id = %(id)s),"
        " (SELECT count(*) FROM rejected_events WHERE shop_domain = %(shop)s)",
        {"id": shop_id, "shop": shop},
    )
    return +Counter(dict(zip(("events", "batches", "rejected_events"), row, strict=True)))


def _tables_of_shops(connection: Connection) -> list[tuple[str, str]]:
    """Every plain table with rows by shop, also one that a later release has added."""
    return connection.execute(
        "SELECT relname, attname FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid"
        " WHERE attname IN ('shop_id', 'shop_domain') AND relkind = 'r' AND NOT relispartition"
        " AND pg_table_is_visible(pg_class.oid) AND relname <> ALL(%s)"
        " AND relname NOT IN"
        " ('stored_batches', 'contexts', 'doubted_contexts', 'rejected_events') ORDER BY relname",
        [list(_KEPT)],
    ).fetchall()


def _delete_events(
    connection: Connection, shop_id: int, batch_ids: Collection[int], deleted: Progress
) -> None:
    for partition in partitions(connection):
        for window, bounds in event_windows(connection, shop_id, partition):
            statement = sql.SQL(
                "DELETE FROM {} AS e WHERE {} AND e.batch_id = ANY(%(ids)s::bigint[])"
            ).format(sql.Identifier(partition), window)
            with connection.transaction():
                values = {**bounds, "ids": list(batch_ids)}
                deleted("events", connection.execute(statement, values).rowcount)


def _delete_event(connection: Connection, shop_id: int, key: EventKey) -> int:
    return connection.execute(
        sql.SQL(
            "DELETE FROM {} WHERE shop_id = %s AND occurred_at = %s::timestamptz"
            " AND insert_key = %s"
        ).format(sql.Identifier(key.partition)),
        [shop_id, key.occurred_at, key.insert_key],
    ).rowcount


def _delete_batches(connection: Connection, shop_id: int, ids: list[int]) -> int:
    _mark_visitors(connection, shop_id, ids)
    return delete_listed(connection, shop_id, ids)


def _delete_emptied(connection: Connection, shop_id: int, ids: Collection[int]) -> int:
    """Those of the batches that have no event any more."""
    _mark_visitors(connection, shop_id, list(ids))
    return delete_emptied(connection, shop_id, list(ids))


def _mark_visitors(connection: Connection, shop_id: int, ids: list[int]) -> None:
    """To be counted anew, those of the batches."""
    visitors = connection.execute(
        sql.SQL("SELECT {} FROM batches b WHERE shop_id = %s AND id = ANY(%s)").format(
            sql.SQL(VISITOR)
        ),
        [shop_id, ids],
    ).fetchall()
    mark_dirty(connection, shop_id, _visitors(visitors))


def _count_emptied(connection: Connection, shop_id: int, found: Found) -> int:
    """What `_delete_emptied` would delete."""
    [(number,)] = connection.execute(
        "SELECT cardinality(%(ids)s::bigint[]) - count(DISTINCT batch_id) FROM events"
        " WHERE shop_id = %(shop)s AND batch_id = ANY(%(ids)s::bigint[])"
        " AND (occurred_at, insert_key) NOT IN"
        "  (SELECT * FROM unnest(%(times)s::timestamptz[], %(keys)s::uuid[]))",
        {
            "shop": shop_id,
            "ids": list(found.others - found.batch_ids),
            "times": [key.occurred_at for key in found.events],
            "keys": [key.insert_key for key in found.events],
        },
    )
    return int(number)


def _visitors(rows: list[tuple[str | None]]) -> set[str] | None:
    """None where one is of nobody: their events are in the whole shop's counts alone."""
    visitors = {visitor for (visitor,) in rows}
    return None if None in visitors else {visitor for visitor in visitors if visitor}
