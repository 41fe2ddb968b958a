"""flask db upgrade|status, and the commands' connection."""

import sys
from contextlib import closing
from datetime import UTC, datetime

import click
import psycopg

from app import commands
from app.store import migrate
from app.store.connections import connect
from app.store.partitions import create_partitions
from config.settings import Settings

db = click.Group("db", help="Bring the database to this release's schema.")


def database(settings: Settings) -> psycopg.Connection:
    """A connection, or one message and exit code 1."""
    try:
        return connect(settings.database_url, "command")
    except psycopg.Error as error:
        raise click.ClickException(f"Postgres does not answer at DATABASE_URL: {error}") from error


@db.command("upgrade")
def upgrade() -> None:
    """Apply the migrations that are missing and make the partitions of the next months.

    Safe to run twice, and by two releases at once. The Procfile's release phase runs it.
    """
    with closing(database(commands.settings())) as connection:
        try:
            applied = migrate.upgrade(connection)
            create_partitions(connection, datetime.now(UTC).date())
        except psycopg.Error as error:
            raise click.ClickException(f"The database could not be upgraded: {error}") from error
    for name in applied:
        click.echo(f"applied {name}")
    if not applied:
        click.echo("The database is up to date.")


@db.command("status")
def db_status() -> None:
    """List the migrations; exit code 1 where one is missing."""
    with closing(database(commands.settings())) as connection:
        migrations = migrate.status(connection)
    for migration in migrations:
        applied_at = migration.applied_at
        when = (
            f"applied {applied_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if applied_at else "missing"
        )
        click.echo(f"{migration.name:<40} {when}")
    if not all(migration.applied_at for migration in migrations):
        click.echo("Run `flask db upgrade` to apply what is missing.", err=True)
        sys.exit(1)
