"""flask rejected list|show|replay"""

from contextlib import closing

import click
import psycopg

from app import commands
from app.rejected.replay import as_json, find, replay
from app.store.commands import database
from app.store.connections import WORKER_STATEMENT_TIMEOUT
from app.store.writer import Writer
from config.causes import cause

_SHOP = click.option("--shop", help="Only of this shop, such as your-store.myshopify.com.")
_CODE = click.option("--code", help="Only with this code, such as VALIDATION_FAILED.")


@click.group()
def rejected() -> None:
    """See what came with a valid signature and was refused, and try it again."""


@rejected.command("list")
@_SHOP
@_CODE
@click.option(
    "--limit",
    type=commands.LIMIT,
    default=50,
    show_default=True,
    help="At most so many, the newest.",
)
def list_(shop: str | None, code: str | None, limit: int) -> None:
    """List what was rejected, the newest first, a line each."""
    with closing(database(commands.settings())) as connection:
        found = find(connection, shop=shop, code=code, limit=limit)
    for one in found:
        first = one.details[0] if one.details else {"path": "", "message": ""}
        reason = f"{first['path']} {first['message']}".strip()
        click.echo(f"{one.id}  {one.received_at:%Y-%m-%d %H:%M}  {one.shop}  {one.code}  {reason}")
    if not found:
        click.echo("There are no rejected events.", err=True)


@rejected.command()
@click.argument("id_", metavar="ID", type=commands.ID)
def show(id_: int) -> None:
    """Show one with its payload and context, as JSON."""
    with closing(database(commands.settings())) as connection:
        found = find(connection, id_=id_)
    if not found:
        raise click.ClickException(f"There is no rejected event {id_}.")
    click.echo(as_json(found[0]))


@rejected.command("replay")
@_SHOP
@_CODE
@click.option("--id", "id_", type=commands.ID, help="Only this one.")
@click.option(
    "--limit",
    type=commands.LIMIT,
    default=10_000,
    show_default=True,
    help="At most so many, the newest.",
)
def replay_(shop: str | None, code: str | None, id_: int | None, limit: int) -> None:
    """Validate again with today's rules and store what is valid now.

    What is stored leaves the list, the rest stays with its reason. Safe to repeat: an event that
    the caller has sent again in the meantime is not stored twice.
    """
    writer = Writer(statement_timeout=WORKER_STATEMENT_TIMEOUT)
    stored = 0
    with closing(database(commands.settings())) as connection:
        found = find(connection, id_=id_, shop=shop, code=code, limit=limit)
        try:
            with click.progressbar(
                replay(connection, writer, found), length=len(found), label="Replaying"
            ) as results:
                remaining = [(one, reason) for one, reason in results if reason]
            stored = len(found) - len(remaining)
        except psycopg.Error as error:
            raise click.ClickException(f"Stopped, safe to repeat: {cause(error)}") from error
    for one, reason in remaining:
        click.echo(f"{one.id}  {one.shop}  {one.code}  {reason}")
    click.echo(f"{stored} stored, {len(remaining)} still rejected.")
