"""What is older than its time goes: whole partitions by the month in which their events happened,
rows of the DEFAULT partition by the time at which they were received."""

import logging
from collections import Counter
from collections.abc import Collection
from datetime import datetime, timedelta
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import Any

from psycopg import Connection, sql
from psycopg.errors import LockNotAvailable

from app.store import walks
from app.store.batches import delete_batches, delete_emptied
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
    deleted["batches"] += delete_batches(
        connection,
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
            "SELECT shop_id, occurred_at::text, insert_key, batch_id FROM events_default"
            " WHERE (shop_id, occurred_at, insert_key) > (%s, %s::timestamptz, %s::uuid)"
            " ORDER BY shop_id, occurred_at, insert_key LIMIT %s",
            [*after, walks.STEP_ROWS],
        ).fetchall()
        for shop_id, of_shop in groupby(rows, key=itemgetter(0)):
            events = list(of_shop)
            received = _received(connection, shop_id, {batch_id for *_, batch_id in events}, cutoff)
            old = [event for event in events if event[3] in received]
            if old:
                deleted += _delete_events(connection, shop_id, [event[1:3] for event in old])
                progress("events", len(old))
                younger.update(
                    (shop_id, batch_id) for *_, batch_id in old if received[batch_id] >= orphaned
                )
        if len(rows) < walks.STEP_ROWS:
            return deleted, sorted(younger)
        after = rows[-1][:3]


def _received(
    connection: Connection, shop_id: int, ids: Collection[int], before: datetime
) -> dict[int, datetime]:
    """When each of a shop's batches was received, of those that were so before a time."""
    return dict(
        connection.execute(
            "SELECT id, received_at FROM stored_batches"
            " WHERE shop_id = %s AND id = ANY(%s::bigint[]) AND received_at < %s",
            [shop_id, list(ids), before],
        ).fetchall()
    )


def _delete_events(connection: Connection, shop_id: int, keys: list[tuple[str, Any]]) -> int:
    times, digests = map(list, zip(*keys, strict=True))
    return connection.execute(
        "DELETE FROM events_default WHERE shop_id = %s AND (occurred_at, insert_key) IN"
        " (SELECT * FROM unnest(%s::timestamptz[], %s::uuid[]))",
        [shop_id, times, digests],
    ).rowcount


def _delete_emptied(
    connection: Connection, batches: list[tuple[int, int]], events_end: datetime
) -> int:
    """Delete those that have no event any more; theirs were all before `events_end`."""
    return sum(
        delete_emptied(connection, shop_id, ids, events_end)
        for shop_id, of_shop in groupby(batches, key=itemgetter(0))
        for ids in walks.steps([id_ for _, id_ in of_shop])
    )


def partitions_begin(connection: Connection) -> datetime | None:
    """The first month's; what happened before is in the DEFAULT partition, if it is stored."""
    return min((start for _, start, _ in months(connection)), default=None)
