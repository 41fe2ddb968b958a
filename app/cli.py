"""The commands. Each reads the settings itself, when it runs."""

import sys
from contextlib import closing
from datetime import UTC, datetime

import click
import psycopg
from flask import Flask

from app import commands
from app.dev.commands import dev, sign
from app.faults import report_to_sentry
from app.health.commands import check_, status
from app.merchant.commands import report
from app.privacy.commands import privacy
from app.rejected.commands import rejected
from app.store import migrate
from app.store.partitions import create_partitions
from app.store.upkeep import Retention, maintain
from app.worker.run import run

db = click.Group("db", help="Bring the database to this release's schema.")


def init_app(app: Flask) -> None:
    for command in (db, worker, report, rejected, privacy, status, check_, dev, sign):
        app.cli.add_command(command)


@db.command("upgrade")
def upgrade() -> None:
    """Apply the migrations that are missing and make the partitions of the next months.

    Safe to run twice, and by two releases at once. The Procfile's release phase runs it.
    """
    with closing(commands.database(commands.settings())) as connection:
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
    with closing(commands.database(commands.settings())) as connection:
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


@db.command("maintain")
def maintain_() -> None:
    """Make partitions ahead of time and delete what is past its retention, as the worker does."""
    settings = commands.settings()
    with closing(commands.database(settings)) as connection:
        try:
            done = maintain(connection, Retention.of(settings), commands.progress())
        except psycopg.Error as error:
            raise click.ClickException(f"Stopped, safe to repeat: {error}") from error
    for what, number in done.items():
        click.echo(f"{number} {what}")
    if not done:
        click.echo("There was nothing to do.")


@click.command("worker")
def worker() -> None:
    """Store what the web processes have accepted, until SIGTERM.

    Reads the streams in Redis, writes into Postgres in large transactions, and makes partitions
    ahead of time. Several may run side by side.
    """
    settings = commands.settings()
    report_to_sentry(settings)
    run(settings)
