"""flask db upgrade|status|backup|restore, and the commands' connection."""

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click
import psycopg

from app import commands
from app.store import backup, migrate, restore
from app.store.connections import connect
from app.store.distribute import NotPossible, distribute, is_distributed
from app.store.partitions import create_partitions
from app.store.postgres_tools import BackupError, find_tool
from config.causes import cause
from config.settings import Settings

db = click.Group("db", help="This release's schema, its backup and the way back.")

_NEWER = "A newer release has applied {}: this one runs beside it, and is due for an update."
_BIN = click.option(
    "--bin",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of pg_dump and pg_restore, instead of the newest that is found.",
)
_FILE = click.argument("file", type=click.Path(dir_okay=False, path_type=Path))


def database(settings: Settings) -> psycopg.Connection:
    """A connection, or one message and exit code 1."""
    try:
        return connect(settings.database_url, "command")
    except psycopg.Error as error:
        raise click.ClickException(
            f"Postgres does not answer at DATABASE_URL: {cause(error)}"
        ) from error


@db.command("upgrade")
def upgrade() -> None:
    """Apply the migrations that are missing and make the partitions of the next months.

    Safe to run twice, and by two releases at once. The Procfile's release phase runs it.
    """
    with closing(database(commands.settings())) as connection:
        try:
            applied = migrate.upgrade(connection)
            create_partitions(connection, datetime.now(UTC).date())
            if is_distributed(connection):
                distribute(connection, _tell_spread)
        except NotPossible as error:
            raise click.ClickException(str(error)) from error
        except psycopg.Error as error:
            raise click.ClickException(
                f"The database could not be upgraded: {cause(error)}"
            ) from error
        newer = migrate.newer(connection)
    for name in applied:
        click.echo(f"applied {name}")
    if newer:
        click.echo(_NEWER.format(", ".join(newer)), err=True)
    elif not applied:
        click.echo("The database is up to date.")


@db.command("distribute")
def distribute_() -> None:
    """Spread the tables over the nodes of a Citus, each shop's rows on one of them.

    Stop the worker first: nobody writes meanwhile, and what web accepts waits. All of it happens or
    nothing does; safe to run twice.
    """
    with closing(database(commands.settings())) as connection:
        try:
            spread = distribute(connection, _tell_spread)
        except NotPossible as error:
            raise click.ClickException(str(error)) from error
        except psycopg.Error as error:
            raise click.ClickException(
                f"Postgres refuses, nothing is changed: {cause(error)}"
            ) from error
    if not spread:
        click.echo("All tables are spread already.")


def _tell_spread(table: str) -> None:
    click.echo(f"spread {table}")


@db.command("status")
def db_status() -> None:
    """List the migrations; exit code 1 where one is missing."""
    with closing(database(commands.settings())) as connection:
        migrations = migrate.status(connection)
        newer = migrate.newer(connection)
    for migration in migrations:
        applied_at = migration.applied_at
        when = (
            f"applied {applied_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if applied_at else "missing"
        )
        click.echo(f"{migration.name:<40} {when}")
    for name in newer:
        click.echo(f"{name:<40} applied by a newer release")
    if newer:
        click.echo(_NEWER.format(", ".join(newer)), err=True)
    if not all(migration.applied_at for migration in migrations):
        click.echo("Run `flask db upgrade` to apply what is missing.", err=True)
        sys.exit(1)


@db.command("backup")
@_FILE
@_BIN
def backup_(file: Path, folder: Path | None) -> None:
    """Write all that is stored to FILE, readable by its owner only. Web and worker go on.

    FILE is there when it is whole; one of that name is replaced.
    """
    settings = commands.settings()
    with closing(database(settings)) as connection:
        schema = backup.schema_of(connection)
        server = connection.info.server_version // 10_000
    if schema is None:
        raise click.ClickException("There is nothing to back up: run `flask db upgrade` first.")
    with _as_one_line():
        tool = find_tool("pg_dump", folder=folder, least=server)
        size = backup.backup(
            settings.database_url, tool, schema, file, lambda table: click.echo(table, err=True)
        )
    click.echo(f"{file}: {size:,} bytes of the schema {schema}.")


@db.command("restore")
@_FILE
@_BIN
@click.option("--schema", help="Into this one, which is made where it is missing.")
@click.option("--replace", is_flag=True, help="Drop what the schema holds. Asks first.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def restore_(file: Path, folder: Path | None, schema: str | None, replace: bool, yes: bool) -> None:
    """Bring back what `flask db backup` wrote to FILE, and apply the migrations that it lacks.

    Stop web and worker first. All comes back or nothing changes.
    """
    settings = commands.settings()
    with closing(database(settings)) as connection, _as_one_line():
        tool = find_tool("pg_restore", folder=folder)
        into = schema or _current_schema(connection)
        found = restore.contents(connection, into)
        if replace and found.tables and not yes:
            click.confirm(
                f"Drop {found.tables} tables with about {found.rows:,} rows of the schema {into}"
                f" in the database {connection.info.dbname}?",
                abort=True,
            )
        applied = restore.restore(
            connection, tool, file, into, replace=replace, progress=commands.progress()
        )
    for name in applied:
        click.echo(f"applied {name}")
    click.echo(f"{file} is restored into the schema {into}.")


def _current_schema(connection: psycopg.Connection) -> str:
    row = connection.execute("SELECT current_schema()").fetchone()
    if not row or not row[0]:
        raise BackupError("The role has no schema: CREATE SCHEMA … AUTHORIZATION its name.")
    return str(row[0])


@contextmanager
def _as_one_line() -> Iterator[None]:
    """What stops a backup or a restore, without any row of the data."""
    try:
        yield
    except BackupError as error:
        raise click.ClickException(str(error)) from error
    except psycopg.Error as error:
        raise click.ClickException(
            f"Postgres refuses, nothing is changed: {cause(error)}"
        ) from error
