"""What is older than its time goes: whole partitions by the month in which their events happened,
rows of the DEFAULT partition by the time at which they were received."""

import logging
from collections import Counter
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from psycopg import Connection, sql
from psycopg.errors import LockNotAvailable

from app.store import walks
from app.store.partitions import months
from app.store.walks import Progress

logger = logging.getLogger(__name__)

_LOCK_TIMEOUT = "500ms"  # to take a partition away; ingestion must not queue up behind it
# By how much an event may be dated after its batch was received (app/batch/batch.py).
_CLOCK_TOLERANCE = timedelta(hours=1)


def drop_old_partitions(connection: Connection, cutoff: datetime) -> list[str]:
    """Drop those that end before the cutoff; returns their names. One that is locked just now is
    left for the next time."""
    dropped = []
    for name, _, end in months(connection):
        if end > cutoff:
            continue
        try:
            with connection.transaction():
                connection.execute(
                    sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(_LOCK_TIMEOUT))
                )
                connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(name)))
        except LockNotAvailable:
            logger.warning(
                "an old partition is busy, will try again",
                extra={"action": "drop_postponed", "partition": name},
            )
        else:
            dropped.append(name)
    return dropped


def delete_old_rows(connection: Connection, cutoff: datetime, progress: Progress) -> Counter[str]:
    """Delete what was received before the cutoff and has no partition to go with; returns the
    number of rows by table."""
    deleted: Counter[str] = Counter()
    # No event of an older batch can be left: it would be in a partition that is gone by now.
    first = partitions_begin(connection) or cutoff
    orphaned = min(cutoff, first - _CLOCK_TOLERANCE)
    deleted["events"], younger = _delete_from_default(connection, cutoff, orphaned, progress)
    deleted["batches"] = _delete_emptied(connection, younger, cutoff + _CLOCK_TOLERANCE)
    deleted["batches"] += walks.delete_in_steps(
        connection,
        "stored_batches",
        "received_at < %(orphaned)s",
        {"orphaned": orphaned},
        partial(progress, "batches"),
    )
    return +deleted


def _delete_from_default(
    connection: Connection, cutoff: datetime, orphaned: datetime, progress: Progress
) -> tuple[int, list[tuple[int, int]]]:
    """One walk along the key, a statement for each step. Returns the number of rows, and the shop's
    and the own id of those of their batches that are younger than `orphaned`."""
    deleted = 0
    younger: set[tuple[int, int]] = set()
    after: tuple[Any, ...] = (0, "-infinity", "00000000-0000-0000-0000-000000000000")
    while True:
        rows = connection.execute(
            "SELECT next.shop_id, occurred_at::text, insert_key, received_at < %s, batch_id,"
            " received_at >= %s FROM ("
            " SELECT * FROM events_default"
            " WHERE (shop_id, occurred_at, insert_key) > (%s, %s::timestamptz, %s::uuid)"
            " ORDER BY shop_id, occurred_at, insert_key LIMIT %s) AS next"
            " LEFT JOIN batches ON batches.shop_id = next.shop_id AND batches.id = next.batch_id"
            " ORDER BY next.shop_id, next.occurred_at, insert_key",
            [cutoff, orphaned, *after, walks.STEP_ROWS],
        ).fetchall()
        old = [row[:3] for row in rows if row[3]]
        if old:
            deleted += connection.execute(
                "DELETE FROM events_default USING unnest(%s::int[], %s::timestamptz[], %s::uuid[])"
                " AS old (shop_id, occurred_at, insert_key)"
                " WHERE events_default.shop_id = old.shop_id"
                " AND events_default.occurred_at = old.occurred_at"
                " AND events_default.insert_key = old.insert_key",
                [list(column) for column in zip(*old, strict=True)],
            ).rowcount
            progress("events", len(old))
            younger.update((row[0], row[4]) for row in rows if row[3] and row[5])
        if len(rows) < walks.STEP_ROWS:
            return deleted, sorted(younger)
        after = rows[-1][:3]


def _delete_emptied(
    connection: Connection, batches: list[tuple[int, int]], events_end: datetime
) -> int:
    """Delete those that have no event any more; theirs were all before `events_end`."""
    deleted = 0
    for some in walks.steps(batches):
        shops, ids = map(list, zip(*some, strict=True))
        deleted += connection.execute(
            "DELETE FROM stored_batches WHERE shop_id = ANY(%(shops)s) AND id = ANY(%(ids)s)"
            " AND id NOT IN (SELECT batch_id FROM events WHERE shop_id = ANY(%(shops)s)"
            "  AND batch_id = ANY(%(ids)s::bigint[]) AND occurred_at < %(end)s)",
            {"shops": sorted(set(shops)), "ids": ids, "end": events_end},
        ).rowcount
    return deleted


def partitions_begin(connection: Connection) -> datetime | None:
    """The first month's; what happened before is in the DEFAULT partition, if it is stored."""
    return min((start for _, start, _ in months(connection)), default=None)
