"""The monthly partitions of events, made ahead of time."""

import logging
from collections.abc import Iterator
from datetime import date

from psycopg import Connection, sql
from psycopg.errors import LockNotAvailable

logger = logging.getLogger(__name__)

_MONTHS_BACK = 1  # events that waited in a browser
_MONTHS_AHEAD = 3
_LOCK = 0x706172746974  # "partit": one process at a time makes partitions
_LOCK_TIMEOUT = "2s"  # to lock the DEFAULT partition; ingestion must not queue up behind it


def create_partitions(connection: Connection, today: date) -> list[str]:
    """Make the partitions of the months around `today`; returns the names of the new ones.

    Rows of such a month that the DEFAULT partition took in the meantime move to the new one. Safe
    to repeat and to run twice at once; what is locked just now is left for the next time.
    """
    created = []
    for month, following in _months(today):
        name = f"events_{month:%Y_%m}"
        if _exists(connection, name):
            continue
        try:
            if not _create(connection, name, month, following):
                continue  # another process was faster
        except LockNotAvailable:
            logger.warning(
                "the DEFAULT partition is busy, will try again",
                extra={"action": "partition_postponed", "partition": name},
            )
            continue
        created.append(name)
    return created


def _months(today: date) -> Iterator[tuple[date, date]]:
    this = today.year * 12 + today.month - 1
    for number in range(this - _MONTHS_BACK, this + _MONTHS_AHEAD + 1):
        yield _first_day(number), _first_day(number + 1)


def _first_day(number: int) -> date:
    return date(number // 12, number % 12 + 1, 1)


def _exists(connection: Connection, name: str) -> bool:
    # Not to_regclass: it answers from a cache that a wait for the advisory lock does not refresh.
    row = connection.execute(
        "SELECT count(*) FROM pg_class WHERE relname = %s AND pg_table_is_visible(oid)", [name]
    ).fetchone()
    return row is not None and row[0] > 0


def _create(connection: Connection, name: str, first: date, following: date) -> bool:
    # Midnights of UTC, whatever the session's TimeZone is.
    bounds = {
        "table": sql.Identifier(name),
        "first": f"{first} 00:00+00",
        "following": f"{following} 00:00+00",
    }
    with connection.transaction():
        connection.execute(
            sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(_LOCK_TIMEOUT))
        )
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        if _exists(connection, name):
            return False
        connection.execute(
            sql.SQL("CREATE TABLE {table} (LIKE events INCLUDING ALL)").format(**bounds)
        )
        # From here to the commit no row may enter the DEFAULT partition: it would be in the way
        # of the new range.
        connection.execute("LOCK TABLE events_default IN ACCESS EXCLUSIVE MODE")
        connection.execute(
            sql.SQL(
                "WITH moved AS (DELETE FROM events_default"
                " WHERE occurred_at >= {first} AND occurred_at < {following} RETURNING *)"
                " INSERT INTO {table} SELECT * FROM moved"
            ).format(**bounds)
        )
        connection.execute(
            sql.SQL(
                "ALTER TABLE events ATTACH PARTITION {table}"
                " FOR VALUES FROM ({first}) TO ({following})"
            ).format(**bounds)
        )
    return True
