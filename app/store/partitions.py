"""The monthly partitions of events, made ahead of time."""

import logging
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from psycopg import Connection, sql
from psycopg.errors import CheckViolation, LockNotAvailable, QueryCanceled, UndefinedObject

from app.store.distribute import is_distributed
from app.store.walks import partitions

logger = logging.getLogger(__name__)

_MONTHS_BACK = 1  # events that waited in a browser
_MONTHS_AHEAD = 3
_LOCK = 0x706172746974  # "partit": one process at a time makes partitions
# To lock the DEFAULT partition, and for what is done under that lock: writers queue up behind it.
_LOCK_TIMEOUT = "250ms"
_STATEMENT_TIMEOUT = "300ms"
_SPREAD_STATEMENT_TIMEOUT = "5s"  # where it is of many tables on several nodes
# Events are dated an hour after their receipt at most (app/batch/batch.py).
_NO_EVENTS_YET = timedelta(days=1)
_DROP_CONSTRAINT = sql.SQL("ALTER TABLE events_default DROP CONSTRAINT IF EXISTS {without}")


class Month(NamedTuple):
    """A partition: from one midnight of UTC to another, whatever the session's TimeZone is."""

    name: str
    begin: datetime
    end: datetime


def create_partitions(connection: Connection, today: date, *, is_alone: bool = False) -> list[str]:
    """Make the partitions of the months around `today`; returns the names of the new ones.

    Rows of such a month that the DEFAULT partition took in the meantime move to the new one. Safe
    to repeat and to run twice at once. What is locked just now, or would hold writers up for long,
    is left for the next time; `is_alone` says that there are no writers.
    """
    _clear(connection)
    created = []
    this = today.year * 12 + today.month - 1
    for number in range(this - _MONTHS_BACK, this + _MONTHS_AHEAD + 1):
        month = _month(number)
        if _exists(connection, month.name):
            continue
        try:
            if not _create(connection, month, is_alone):
                continue  # another process was faster
        except (LockNotAvailable, QueryCanceled, CheckViolation):
            logger.warning(
                "the DEFAULT partition is busy or too large, will try again",
                extra={"action": "partition_postponed", "partition": month.name},
            )
            continue
        created.append(month.name)
    return created


def months(connection: Connection) -> list[Month]:
    """Every partition but the DEFAULT one, the oldest first."""
    names = [name for name in partitions(connection) if name != "events_default"]
    return [_named(name) for name in names]


def _named(name: str) -> Month:
    year, month = name.removeprefix("events_").split("_")
    return _month(int(year) * 12 + int(month) - 1)


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


def _create(connection: Connection, month: Month, is_alone: bool) -> bool:
    has_no_rows = _is_ahead(month) and not is_alone and _exclude(connection, month)
    bounds = _bounds(month)
    with connection.transaction():
        is_spread = is_distributed(connection)
        timeout = _SPREAD_STATEMENT_TIMEOUT if is_spread else _STATEMENT_TIMEOUT
        _limit(connection, None if is_alone else timeout)
        if _exists(connection, month.name):
            return False
        connection.execute(
            sql.SQL("CREATE TABLE {table} (LIKE events INCLUDING ALL)").format(**bounds)
        )
        # From here to the commit no row may enter the DEFAULT partition: it would be in the way
        # of the new range.
        connection.execute("LOCK TABLE events_default IN ACCESS EXCLUSIVE MODE")
        if not has_no_rows:
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
        connection.execute(_DROP_CONSTRAINT.format(**bounds))
    return True


def _exclude(connection: Connection, month: Month) -> bool:
    """Have Postgres know that the DEFAULT partition holds no row of the month, which it would
    otherwise find out under the lock; False where it does hold some.

    Only for a month of which no event can come yet: meanwhile one would be refused.
    """
    bounds = _bounds(month)
    with connection.transaction():
        _limit(connection, _STATEMENT_TIMEOUT)
        if not _is_excluded(connection, month):
            connection.execute(
                sql.SQL(
                    "ALTER TABLE events_default ADD CONSTRAINT {without}"
                    " CHECK (occurred_at < {first} OR occurred_at >= {following}) NOT VALID"
                ).format(**bounds)
            )
    try:  # reads all of the partition, and holds no writer up
        connection.execute(
            sql.SQL("ALTER TABLE events_default VALIDATE CONSTRAINT {without}").format(**bounds)
        )
    except CheckViolation:
        _include(connection, month)
        return False
    except UndefinedObject:  # another process has undone it, because it is done or cannot be
        return False
    return True


def _is_excluded(connection: Connection, month: Month) -> bool:
    return bool(
        connection.execute(
            "SELECT 1 FROM pg_constraint"
            " WHERE conrelid = 'events_default'::regclass AND conname = %s",
            [_constraint(month)],
        ).fetchone()
    )


def _include(connection: Connection, month: Month) -> None:
    """Undo `_exclude`."""
    if _is_excluded(connection, month):
        with connection.transaction():
            _limit(connection, _STATEMENT_TIMEOUT)
            connection.execute(_DROP_CONSTRAINT.format(**_bounds(month)))


def _clear(connection: Connection) -> None:
    """Undo what a process that was killed has left: it would refuse events one day."""
    for (name,) in connection.execute(
        "SELECT conname FROM pg_constraint WHERE conrelid = 'events_default'::regclass"
        " AND contype = 'c' AND conname LIKE 'without\\_events\\_%'"
    ).fetchall():
        month = _named(name.removeprefix("without_"))
        if _exists(connection, month.name) or not _is_ahead(month):
            with suppress(LockNotAvailable, QueryCanceled):
                _include(connection, month)


def _is_ahead(month: Month) -> bool:
    return month.begin > datetime.now(UTC) + _NO_EVENTS_YET


def _limit(connection: Connection, statement_timeout: str | None) -> None:
    """One process at a time, and within time limits, in this transaction."""
    timeouts = {"lock_timeout": _LOCK_TIMEOUT}
    if statement_timeout:
        timeouts["statement_timeout"] = statement_timeout
    for name, value in timeouts.items():
        connection.execute("SELECT set_config(%s, %s, true)", [name, value])
    connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])


def _constraint(month: Month) -> str:
    return f"without_{month.name}"


def _bounds(month: Month) -> dict[str, sql.Composable]:
    return {
        "table": sql.Identifier(month.name),
        "without": sql.Identifier(_constraint(month)),
        "first": sql.Literal(month.begin.isoformat()),
        "following": sql.Literal(month.end.isoformat()),
    }
