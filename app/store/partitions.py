"""The monthly partitions of events, made ahead of time."""

import logging
from datetime import UTC, date, datetime
from typing import NamedTuple

from psycopg import Connection, sql
from psycopg.errors import LockNotAvailable

from app.store.walks import partitions

logger = logging.getLogger(__name__)

_MONTHS_BACK = 1  # events that waited in a browser
_MONTHS_AHEAD = 3
_LOCK = 0x706172746974  # "partit": one process at a time makes partitions
_LOCK_TIMEOUT = "2s"  # to lock the DEFAULT partition; ingestion must not queue up behind it


class Month(NamedTuple):
    """A partition: from one midnight of UTC to another, whatever the session's TimeZone is."""

    name: str
    begin: datetime
    end: datetime


def create_partitions(connection: Connection, today: date) -> list[str]:
    """Make the partitions of the months around `today`; returns the names of the new ones.

    Rows of such a month that the DEFAULT partition took in the meantime move to the new one. Safe
    to repeat and to run twice at once; what is locked just now is left for the next time.
    """
    created = []
    this = today.year * 12 + today.month - 1
    for number in range(this - _MONTHS_BACK, this + _MONTHS_AHEAD + 1):
        month = _month(number)
        if _exists(connection, month.name):
            continue
        try:
            if not _create(connection, month):
                continue  # another process was faster
        except LockNotAvailable:
            logger.warning(
                "the DEFAULT partition is busy, will try again",
                extra={"action": "partition_postponed", "partition": month.name},
            )
            continue
        created.append(month.name)
    return created


def months(connection: Connection) -> list[Month]:
    """Every partition but the DEFAULT one, the oldest first."""
    names = [name for name in partitions(connection) if name != "events_default"]
    parts = (name.removeprefix("events_").split("_") for name in names)
    return [_month(int(year) * 12 + int(month) - 1) for year, month in parts]


def _month(number: int) -> Month:
    """By the number of months since year 0."""
    begin, end = (
        datetime(count // 12, count % 12 + 1, 1, tzinfo=UTC) for count in (number, number + 1)
    )
    return Month(f"events_{begin:%Y_%m}", begin, end)


def _exists(connection: Connection, name: str) -> bool:
    # Not to_regclass: it answers from a cache that a wait for the advisory lock does not refresh.
    row = connection.execute(
        "SELECT count(*) FROM pg_class WHERE relname = %s AND pg_table_is_visible(oid)", [name]
    ).fetchone()
    return row is not None and row[0] > 0


def _create(connection: Connection, month: Month) -> bool:
    bounds = {
        "table": sql.Identifier(month.name),
        "first": month.begin.isoformat(),
        "following": month.end.isoformat(),
    }
    with connection.transaction():
        connection.execute(
            sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(_LOCK_TIMEOUT))
        )
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        if _exists(connection, month.name):
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
