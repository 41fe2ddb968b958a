"""Keeps the counts equal to what is stored. What others call, and the protocol, in this order:

1. *Announce.* What is stored is announced in the transaction that stores it, with all that counting
   needs of it (`report_news`, app.batch.news).
2. *Mark.* What makes counts wrong, events deleted or a setting changed, is marked in its own
   transaction: some visitors of a shop, or the shop (`report_marks`, `mark_dirty`).
3. *Lock.* One transaction at a time counts a shop, until its end (`try_lock`). Others count other
   shops meanwhile.
4. *Count.* A transaction that has the locks of some shops takes some of their announcements away
   and counts them: each is counted exactly once, whatever the order of commits, and a crash at any
   point changes nothing (app.counts.counting).
5. *Recount.* All of it happens in one snapshot of a transaction that has the shop's lock: what is
   announced in it is counted, then what is marked in it is counted anew. What is deleted meanwhile
   leaves the counts with a later mark (app.counts.recount).
6. *Outdate.* What a release with another definition has counted or announced marks the shop
   (`report_recounts`): it is counted anew as a whole, by a release that counts so or later.
7. *Never wait within a snapshot.* It must be younger than the end of another's counting. So a
   recount that does not get the lock, or gets it between another's end and its own snapshot (a
   SerializationFailure), gives up and is tried again with a new one.
"""

import time
from collections.abc import Iterable, Iterator
from datetime import datetime

from psycopg import Connection
from psycopg.errors import SerializationFailure

from app.counts import counting, forgetting
from app.counts.measures import COUNTED
from app.counts.planner import PREFER_INDEXES
from app.counts.recount import Progress, recount_marked

# "rep": with the shop's id, a lock of a transaction, for PgBouncer lends a session to several.
_LOCK = 0x726570
_RETRY_PAUSE = 0.05  # s
_MOST_SHOPS = 100  # at once; a server has room for some thousand locks in all
_MOST_WAITING = 1_000  # that one who counts looks at
_MUCH = counting.MOST  # bytes of a shop's announcements that wait for no more

_WAITING = f"""
    SELECT shop_id, sum(size) FROM report_news GROUP BY shop_id
    HAVING sum(size) > {_MUCH} OR max(written_at) <= clock_timestamp() - %s * interval '1 s'
    OR min(written_at) <= clock_timestamp() - %s * interval '1 s'
    ORDER BY min(id) LIMIT {_MOST_WAITING}"""
# By itself: in a statement that reads tables, it may be a node's lock where those are spread.
_LOCK_SHOPS = f"""
    SELECT shop_id FROM unnest(%s::integer[]) AS shop_id
    WHERE pg_try_advisory_xact_lock({_LOCK}, shop_id)"""


def count_new(connection: Connection) -> bool:
    """Recount a shop that is marked, or count some of what is new; whether there may be more.

    psycopg.Error: nothing has changed, call again.
    """
    return recount_next(connection) or count_next(connection)


def count_next(connection: Connection, *, quiet: float = 0.0, longest: float = 0.0) -> bool:
    """Count some of what is new, of shops that nobody else counts; whether there may be more.

    A shop's announcements wait until the newest is `quiet` seconds old, or the oldest `longest`,
    or they are many.
    """
    with connection.transaction():
        connection.execute(f"{PREFER_INDEXES}; {_so_defined()}".encode())
        waiting = connection.execute(_WAITING.encode(), [quiet, longest]).fetchall()
        for shops in _shares(waiting):
            locked = [id_ for (id_,) in connection.execute(_LOCK_SHOPS.encode(), [shops])]
            if locked and counting.count_announced(connection, locked):
                return True
    return False


def _so_defined() -> str:
    """A trigger marks the shops of a release that counts otherwise."""
    return f"SET LOCAL genlook.definition = '{COUNTED}'"


def _shares(waiting: Iterable[tuple[int, int]]) -> Iterator[list[int]]:
    """Shops with the bytes that wait of each, by as many as are counted at once: the others are
    left to those who count beside this one."""
    shops: list[int] = []
    size = 0
    for shop_id, of_shop in waiting:
        shops.append(shop_id)
        size += of_shop
        if size >= counting.MOST or len(shops) == _MOST_SHOPS:
            yield shops
            shops, size = [], 0
    if shops:
        yield shops


def recount_next(connection: Connection) -> bool:
    """Count anew what is marked of a shop; whether one was marked that nobody else counts."""
    shops = connection.execute(
        "SELECT shop_id FROM report_marks UNION"
        " SELECT shop_id FROM report_recounts WHERE definition <= %s ORDER BY 1",
        [COUNTED],
    )
    return any(_recount(connection, shop_id) for (shop_id,) in shops.fetchall())


def rebuild(connection: Connection, shop_id: int, progress: Progress = lambda _: None) -> None:
    """Count a shop anew from what is stored; readers see the old numbers until it is done."""
    mark_dirty(connection, shop_id)
    while not _recount(connection, shop_id, progress):
        time.sleep(_RETRY_PAUSE)


def mark_dirty(connection: Connection, shop_id: int, visitors: Iterable[str] | None = None) -> None:
    """Have deleted events leave the counts. Call it in the transaction that deletes them.

    `visitors` are their genlook_client_ids, or session ids where those are missing. None marks the
    whole shop, which takes minutes to count anew with millions of events.
    """
    if visitors is None:
        connection.execute("INSERT INTO report_marks (shop_id) VALUES (%s)", [shop_id])
    else:
        connection.execute(
            "INSERT INTO report_marks (shop_id, visitor)"
            " SELECT %s, md5(visitor)::uuid FROM unnest(%s::text[]) AS visitor",
            [shop_id, list(visitors)],
        )


def keep_no_days(connection: Connection, shop_id: int) -> None:
    """Have the shop's next recount drop the days of which nothing is stored any more."""
    connection.execute("DELETE FROM report_kept WHERE shop_id = %s", [shop_id])


def is_dirty(connection: Connection, shop_id: int) -> bool:
    return (
        connection.execute(
            "SELECT 1 FROM report_marks WHERE shop_id = %(id)s"
            " UNION SELECT 1 FROM report_recounts"
            " WHERE shop_id = %(id)s AND definition <= %(counted)s LIMIT 1",
            {"id": shop_id, "counted": COUNTED},
        ).fetchone()
        is not None
    )


def seconds_behind(connection: Connection) -> float:
    """How long ago the oldest batch was stored that is not counted; 0 where none is."""
    [(seconds,)] = connection.execute(
        "SELECT coalesce(extract(epoch FROM clock_timestamp() - min(written_at)), 0)"
        " FROM report_news"
    )
    return float(seconds)


def forget_deleted(connection: Connection, partitions_begin: datetime) -> int:
    """Drop what is kept of single visitors' events that are no longer stored; returns how many
    visitors lost some. The days' totals hold nothing of a visitor. They stay as they are, also
    where the shop is counted anew.

    Of what happened before the partitions begin, only what is in the DEFAULT one is stored.
    """
    forgotten = 0
    for (shop_id,) in connection.execute("SELECT id FROM shops ORDER BY id").fetchall():
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s, %s)", [_LOCK, shop_id])
            forgotten += forgetting.forget_before(connection, shop_id, partitions_begin)
    return forgotten


def try_lock(connection: Connection, shop_id: int) -> bool:
    """Whether this transaction is the one that counts the shop, until its end."""
    [(is_ours,)] = connection.execute("SELECT pg_try_advisory_xact_lock(%s, %s)", [_LOCK, shop_id])
    return bool(is_ours)


def _recount(connection: Connection, shop_id: int, progress: Progress = lambda _: None) -> bool:
    """Whether it was this process's turn."""
    try:
        with connection.transaction():
            connection.execute(
                f"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; {_so_defined()}".encode()
            )
            if not try_lock(connection, shop_id):
                return False
            recount_marked(connection, shop_id, progress)
    except SerializationFailure:
        return False
    return True
