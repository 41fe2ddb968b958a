"""Migrations: numbered SQL files, each applied once, in order.

A runner of our own: the libraries for it bring a format, a configuration and commands that are
longer than this file. Rules for a migration: the release before it still runs beside it, and it
takes no lock for long.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from psycopg import Connection
from psycopg.abc import Query

_FOLDER = Path(__file__).with_name("migrations")
_LOCK = 0x67656E6C6F6F6B  # "genlook": two releases at once take their turns
_WAIT_FOR_TURN = "120s"
_LOCK_TIMEOUT = "5s"
# One by one: where tables are spread over nodes, each node is sent what changes its part.
_STATEMENT = re.compile(
    rb"""(?: --[^\n]* | '[^']*' | "[^"]*" | \$(?P<tag>\w*)\$ .*? \$(?P=tag)\$ | [^;] )+""",
    re.DOTALL | re.VERBOSE,
)


@dataclass(frozen=True)
class Migration:
    number: int
    name: str
    sql: bytes
    applied_at: datetime | None


def status(connection: Connection) -> list[Migration]:
    """Every migration of this release, with the time at which it was applied, if it was."""
    known = connection.execute("SELECT to_regclass('schema_migrations')").fetchone()
    applied: dict[int, datetime] = {}
    if known and known[0]:
        applied.update(connection.execute("SELECT number, applied_at FROM schema_migrations"))
    migrations = []
    for path in sorted(_FOLDER.glob("*.sql")):
        match = re.fullmatch(r"(\d{4})_(\w+)", path.stem)
        if match is None:
            raise ValueError(f"{path.name} is not named NUMBER_NAME.sql")
        number = int(match[1])
        migrations.append(Migration(number, path.stem, path.read_bytes(), applied.get(number)))
    return migrations


def newer(connection: Connection) -> list[str]:
    """What a newer release has applied and this one does not know, by name."""
    known = [migration.number for migration in status(connection)]
    is_made = connection.execute("SELECT to_regclass('schema_migrations')").fetchone()
    if not is_made or not is_made[0]:
        return []
    rows = connection.execute(
        "SELECT name FROM schema_migrations WHERE number <> ALL(%s) ORDER BY number", [known]
    )
    return [name for (name,) in rows]


def take_turn(connection: Connection) -> None:
    """Wait for other releases' upgrades and restores to end, and keep them off.

    The lock ends with the transaction: a lock of the session would outlive it in PgBouncer.
    """
    _set_lock_timeout(connection, _WAIT_FOR_TURN)
    connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])


def change_one_by_one(connection: Connection) -> None:
    """In this transaction, where tables are spread over nodes (app/store/distribute.py): rows that
    were changed by several connections to a node keep it from changing their table. Elsewhere the
    setting has no meaning."""
    connection.execute("SELECT set_config('citus.multi_shard_modify_mode', 'sequential', true)")


def upgrade(connection: Connection) -> list[str]:
    """Apply what is missing, all or none; returns the names of what was applied."""
    with connection.transaction():
        take_turn(connection)
        change_one_by_one(connection)
        _set_lock_timeout(connection, _LOCK_TIMEOUT)
        connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_migrations ("
            " number integer PRIMARY KEY,"
            " name text NOT NULL,"
            " applied_at timestamptz NOT NULL DEFAULT now())"
        )
        missing = [migration for migration in status(connection) if not migration.applied_at]
        for migration in missing:
            for statement in _STATEMENT.finditer(migration.sql):
                connection.execute(_as_query(statement[0]))
            connection.execute(
                "INSERT INTO schema_migrations (number, name) VALUES (%s, %s)",
                [migration.number, migration.name],
            )
    return [migration.name for migration in missing]


def _set_lock_timeout(connection: Connection, timeout: str) -> None:
    connection.execute("SELECT set_config('lock_timeout', %s, true)", [timeout])


def _as_query(statements: bytes) -> Query:
    return statements
