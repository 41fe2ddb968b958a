"""flask worker, flask db maintain"""

from contextlib import closing

import click
import psycopg

from app import commands
from app.sentry import report_to_sentry
from app.store.commands import database
from app.worker.run import run
from app.worker.upkeep import Retention, maintain
from config.causes import cause


@click.command("maintain")
def maintain_() -> None:
    """Make partitions ahead of time and delete what is past its retention, as the worker does."""
    settings = commands.settings()
    with closing(database(settings)) as connection:
        try:
            done = maintain(connection, Retention.of(settings), commands.progress())
        except psycopg.Error as error:
            raise click.ClickException(f"Stopped, safe to repeat: {cause(error)}") from error
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
