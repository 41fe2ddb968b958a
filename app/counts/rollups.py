"""Keeps the counts equal to what is stored. What others call, and the protocol, in this order:

1. *Announce.* Each stored batch is announced in the transaction that stores it
   (`unreported_batches`, app.store.unreported).
2. *Mark.* What makes counts wrong, events deleted or a setting changed, is marked in its own
   transaction: some visitors of a shop, or the shop (`report_dirty`, `mark_dirty`).
3. *Lock.* One transaction at a time counts, until its end (`try_lock`).
4. *Count.* A transaction that has the lock takes some announcements away and counts what they
   announce: each is counted exactly once, whatever the order of commits, and a crash at any point
   changes nothing (app.counts.counting).
5. *Recount.* Marks go first, or a busy shop would keep an erased visitor. All of it happens in one
   snapshot: what is announced in it is counted, then what is marked in it is counted anew. What is
   deleted meanwhile leaves the counts with a later mark (app.counts.recount).
6. *Never wait within a snapshot.* It must be younger than the end of another's counting. So a
   recount that does not get the lock, or gets it between another's end and its own snapshot (a
   SerializationFailure), gives up and is tried again with a new one.
"""

import time
from collections.abc import Iterable
from datetime import datetime

from psycopg import Connection
from psycopg.errors import SerializationFailure

from app.counts import forgetting
from app.counts.counting import count_announced
from app.counts.recount import Progress, recount_marked

_LOCK = 0x7265706F7274  # "report"; of a transaction, for PgBouncer lends a session to several
_RETRY_PAUSE = 0.05  # s


def count_new(connection: Connection, *, progress: Progress = lambda _: None) -> bool:
    """Count all that is dirty, or some of what is new; whether there may be more.

    psycopg.Error: nothing has changed, call again.
    """
    if is_dirty(connection):
        return _recount(connection, progress)
    with connection.transaction():
        return try_lock(connection) and count_announced(connection)


def rebuild(connection: Connection, shop_id: int, progress: Progress = lambda _: None) -> None:
    """Count a shop anew from what is stored; readers see the old numbers until it is done."""
    mark_dirty(connection, shop_id)
    while not _recount(connection, progress):
        time.sleep(_RETRY_PAUSE)


def mark_dirty(connection: Connection, shop_id: int, visitors: Iterable[str] | None = None) -> None:
    """Have deleted events leave the counts. Call it in the transaction that deletes them.

    `visitors` are their genlook_client_ids, or session ids where those are missing. None marks the
    whole shop, which takes minutes to count anew with millions of events.
    """
    if visitors is None:
        connection.execute("INSERT INTO report_dirty (shop_id) VALUES (%s)", [shop_id])
    else:
        connection.execute(
            "INSERT INTO report_dirty (shop_id, visitor)"
            " SELECT %s, md5(visitor)::uuid FROM unnest(%s::text[]) AS visitor",
            [shop_id, list(visitors)],
        )


def is_dirty(connection: Connection) -> bool:
    return connection.execute("SELECT 1 FROM report_dirty LIMIT 1").fetchone() is not None


def seconds_behind(connection: Connection) -> float:
    """How long ago the oldest batch was stored that is not counted; 0 where none is."""
    row = connection.execute(
        "SELECT extract(epoch FROM clock_timestamp() - written_at) FROM unreported_batches"
        " ORDER BY id LIMIT 1"
    ).fetchone()
    return float(row[0]) if row else 0.0


def forget_deleted(connection: Connection, partitions_begin: datetime) -> int:
    """Drop what is kept of single visitors' events that are no longer stored; returns how many
    visitors lost some. The days' totals hold nothing of a visitor. They stay until a rebuild
    counts what is still stored.

    Of what happened before the partitions begin, only what is in the DEFAULT one is stored.
    """
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        return forgetting.forget_before(connection, partitions_begin)


def try_lock(connection: Connection) -> bool:
    """Whether this transaction is the one that counts, until its end."""
    row = connection.execute("SELECT pg_try_advisory_xact_lock(%s)", [_LOCK]).fetchone()
    return bool(row and row[0])


def _recount(connection: Connection, progress: Progress) -> bool:
    """Whether it was this process's turn."""
    try:
        with connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            if not try_lock(connection):
                return False
            while count_announced(connection):
                pass
            recount_marked(connection, progress)
    except SerializationFailure:
        return False
    return True
