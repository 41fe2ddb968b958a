"""Keeps the reports' counts equal to what is stored, a few thousand events at a time.

Each stored batch is announced in the transaction that stores it (`unreported_batches`), and its
announcement is taken away in the transaction that counts it: so each is counted exactly once,
whatever the order of commits, and a crash at any point changes nothing.
"""

import time
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime

from psycopg import Connection
from psycopg.errors import SerializationFailure

from app.counts import dimensions, journeys
from app.counts.counting import count_announced, is_ours
from app.counts.recount import Progress, is_dirty, recount_dirty

_TURN = 0.05  # s


def count_new(connection: Connection, *, progress: Progress = lambda _: None) -> bool:
    """Count all that is dirty, or some of what is new; whether there may be more.

    psycopg.Error: nothing has changed, call again.
    """
    if is_dirty(connection):  # first, or a busy shop would keep an erased visitor
        return recount_dirty(connection, progress)
    with connection.transaction():
        return is_ours(connection) and count_announced(connection)


def seconds_behind(connection: Connection) -> float:
    """How long ago the oldest batch was stored that is not counted; 0 where none is."""
    row = connection.execute(
        "SELECT extract(epoch FROM clock_timestamp() - written_at) FROM unreported_batches"
        " ORDER BY id LIMIT 1"
    ).fetchone()
    return float(row[0]) if row else 0.0


def mark_dirty(connection: Connection, shop_id: int, visitors: Iterable[str] | None = None) -> None:
    """Have events that were deleted leave the counts; call it in the transaction that deletes.

    `visitors` are their genlook_client_ids, or session ids where those are missing; None has the
    whole shop counted anew, which for millions of events takes minutes.
    """
    if visitors is None:
        connection.execute("INSERT INTO report_dirty (shop_id) VALUES (%s)", [shop_id])
    else:
        connection.execute(
            "INSERT INTO report_dirty (shop_id, visitor)"
            " SELECT %s, md5(visitor)::uuid FROM unnest(%s::text[]) AS visitor",
            [shop_id, list(visitors)],
        )


def forget_deleted(connection: Connection, partitions_begin: datetime) -> int:
    """Drop what is kept of single visitors' events that are no longer stored; returns how many
    visitors it was kept of. The days' totals hold nothing of a visitor, and stay, until a rebuild
    counts what is still stored.

    Of what happened before the partitions begin, only what is in the DEFAULT one is stored.
    """
    oldest = int(partitions_begin.timestamp() * 1_000_000)
    forgotten = 0
    with connection.transaction():
        is_ours(connection, wait=True)
        stored = _stored_in_default(connection, partitions_begin)
        with connection.cursor(name="journeys", binary=True) as cursor:
            cursor.itersize = 20_000
            cursor.execute("SELECT shop_id, visitor, events FROM report_journeys")
            while rows := cursor.fetchmany(20_000):
                kept = {}
                for shop_id, visitor, packed in rows:
                    events = journeys.unpack(packed)
                    if not events or events[0].at >= oldest:
                        continue
                    still = stored[shop_id, visitor]
                    remaining = [e for e in events if e.at >= oldest or e.at in still]
                    if len(remaining) < len(events):
                        kept[shop_id, visitor] = remaining
                journeys.write(connection, kept)
                forgotten += len(kept)
    return forgotten


def _stored_in_default(
    connection: Connection, before: datetime
) -> defaultdict[journeys.Visitor, set[int]]:
    """When each visitor's events happened, in microseconds."""
    stored: defaultdict[journeys.Visitor, set[int]] = defaultdict(set)
    rows = connection.execute(
        f"SELECT b.shop_id, {dimensions.VISITOR_KEY},"
        " (extract(epoch FROM e.occurred_at) * 1000000)::bigint FROM events_default e"
        " JOIN batches b ON b.shop_id = e.shop_id AND b.id = e.batch_id"
        " WHERE e.occurred_at < %s".encode(),
        [before],
    )
    for shop_id, visitor, at in rows:
        stored[shop_id, visitor].add(at)
    return stored


def rebuild(connection: Connection, shop_id: int, progress: Progress = lambda _: None) -> None:
    """Count a shop anew from what is stored; readers see the old numbers until it is done."""
    mark_dirty(connection, shop_id)
    while not _recount(connection, progress):
        time.sleep(_TURN)


def _recount(connection: Connection, progress: Progress) -> bool:
    """A snapshot must be younger than the end of another's counting: so nobody waits within it."""
    try:
        return recount_dirty(connection, progress)
    except SerializationFailure:  # he ended between the snapshot and the lock
        return False
