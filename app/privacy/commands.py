"""flask privacy list|export|erase|retry"""

import sys
import time
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime

import click
import psycopg
from psycopg import Connection
from redis import RedisError

from app import commands
from app.batch.form import NewerEntry
from app.privacy import pieces, requests, scope
from app.privacy.requests import Request
from app.privacy.subject import Subject
from app.privacy.waiting import Journals
from app.privacy.work import Work
from app.shopify.domain import is_shop
from app.store.commands import database
from config.causes import cause

_ERASE_TIMEOUT = 60.0  # s; after that the worker goes on


@click.group()
def privacy() -> None:
    """See what shoppers and merchants have asked for, and do by hand what the webhooks do."""


@privacy.command("list")
@click.option("--shop", help="Only of this shop, such as your-store.myshopify.com.")
def list_(shop: str | None) -> None:
    """List the requests, the newest first, a line each: what, when, and what was done."""
    with closing(database(commands.settings())) as connection:
        found = requests.find(connection, shop=shop)
    for one in found:
        click.echo(
            f"{one.id}  {one.requested_at.astimezone(UTC):%Y-%m-%d %H:%M}  {one.shop_domain}"
            f"  {one.kind}  {_state(one)}"
        )
    if not found:
        click.echo("There are no requests.", err=True)


@privacy.command()
@click.argument("id_", metavar="ID", type=commands.ID)
def export(id_: int) -> None:
    """Print what is kept of a shopper, as JSON to send to the merchant who asked for it."""
    with closing(database(commands.settings())) as connection:
        found = requests.find(connection, id_=id_)
        if not found or found[0].kind != requests.EXPORT_CUSTOMER:
            raise click.ClickException(f"There is no request {id_} for an export.")
        if not found[0].is_exported:
            raise click.ClickException(f"Request {id_} has no export: {_state(found[0])}.")
        for text in pieces.as_json(connection, found[0]):
            click.echo(text, nl=False)
        click.echo()


@privacy.command()
@click.argument("id_", metavar="ID", type=commands.ID)
def retry(id_: int) -> None:
    """Try a request again that has failed, once its cause is mended; the worker takes it up."""
    with closing(database(commands.settings())) as connection:
        if not requests.retry(connection, id_):
            raise click.ClickException(f"There is no request {id_} that has failed.")
    click.echo(f"Request {id_} is tried again.")


@privacy.command()
@click.option("--shop", required=True, help="Of this shop, such as your-store.myshopify.com.")
@click.option("--customer", help="A customer by Shopify's id, in every browser.")
@click.option("--client", "clients", multiple=True, help="A browser by its genlook_client_id.")
@click.option("--email", "emails", multiple=True, help="Who has given this address.")
@click.option("--everything", is_flag=True, help="All that the shop has sent.")
@click.option("--dry-run", is_flag=True, help="Show what would be erased, and erase nothing.")
@click.option("--yes", is_flag=True, help="Do not ask before --everything.")
def erase(
    shop: str,
    customer: str | None,
    clients: tuple[str, ...],
    emails: tuple[str, ...],
    everything: bool,
    dry_run: bool,
    yes: bool,
) -> None:
    """Erase a shopper, or a whole shop: what is stored, and what still waits to be.

    \b
    Examples:
      flask privacy erase --shop your-store.myshopify.com --customer 207119551 --dry-run
      flask privacy erase --shop your-store.myshopify.com --email ann@example.com
    """
    if not is_shop(shop):
        raise click.BadParameter(
            "must be a domain such as your-store.myshopify.com", param_hint="--shop"
        )
    if everything == bool(customer or clients or emails):
        raise click.UsageError("Name --customer, --client or --email, or else --everything.")
    if everything and not (dry_run or yes):
        click.confirm(f"Erase all that {shop} has ever sent?", abort=True)
    settings = commands.settings()
    subject = Subject.build(
        customer_id=customer, emails=emails, client_ids=clients, hash_key=settings.email_hash_key
    )
    kind = requests.ERASE_SHOP if everything else requests.ERASE_CUSTOMER
    with closing(Journals.of(settings)) as journals, closing(database(settings)) as connection:
        try:
            if dry_run:
                _show(_preview(connection, journals, kind, shop, subject), "Would erase")
            else:
                _erase(connection, Work(journals), kind, shop, subject)
        except (psycopg.Error, RedisError) as error:
            raise click.ClickException(f"Stopped, safe to repeat: {cause(error)}") from error
        except NewerEntry as error:
            raise click.ClickException(f"Stopped, safe to repeat: {error}") from error


def _preview(
    connection: Connection, journals: Journals, kind: str, shop: str, subject: Subject
) -> Mapping[str, int]:
    now = datetime.now(UTC)
    if kind == requests.ERASE_SHOP:
        return scope.count_shop(connection, journals, shop, now)
    return scope.count(connection, journals, shop, subject, now, commands.progress())


def _erase(connection: Connection, work: Work, kind: str, shop: str, subject: Subject) -> None:
    id_ = requests.add(
        connection, kind, shop, subject, source=requests.COMMAND, requested_at=datetime.now(UTC)
    )
    progress = commands.progress()
    deadline = time.monotonic() + _ERASE_TIMEOUT
    while time.monotonic() < deadline:
        work.run_due(connection, id_=id_, progress=progress)
        [request] = requests.find(connection, id_=id_)
        if request.outcome:
            _show(request.erased, f"Request {id_} is done. Erased")
            return
        if request.state == requests.FAILED:
            raise click.ClickException(f"Request {id_} {_state(request)}")
        time.sleep(0.2)
    _show(request.erased, f"Request {id_} is not done yet, the worker goes on. Erased so far")
    click.echo("Something still waits, or a server is away: see `flask status`.", err=True)
    sys.exit(1)


def _show(numbers: Mapping[str, int], words: str) -> None:
    rows = ", ".join(f"{number} {table}" for table, number in numbers.items() if number)
    click.echo(f"{words}: {rows or 'nothing'}.")


def _state(request: Request) -> str:
    if request.state == requests.FAILED:
        return f"has failed ({request.cause}): flask privacy retry {request.id}"
    if not request.outcome:
        return f"open, {request.attempts} failed attempts" if request.attempts else "open"
    if request.kind == requests.EXPORT_CUSTOMER:
        if not request.is_exported:
            return "expired or erased"
        return f"ready until {request.expires_at:%Y-%m-%d}: flask privacy export {request.id}"
    rows = ", ".join(f"{number} {table}" for table, number in request.erased.items())
    return f"{request.outcome}: {rows or 'nothing was there'}"
