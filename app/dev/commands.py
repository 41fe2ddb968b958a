"""`flask dev` and `flask sign`.

The servers and psutil are development packages: what needs them is imported when `flask dev` runs,
so that production can load its commands without them.
"""

import os
import signal
import sys
from importlib import import_module
from pathlib import Path

import click

from app.dev import DEV_SECRET, DEV_SHOP, ROOT, events_path, signed_query, signing_secret

PORT = click.IntRange(1, 65535)


@click.command(short_help="Run the whole system on this machine.")
@click.option(
    "--port",
    type=PORT,
    envvar="PORT",
    default=8000,
    show_default=True,
    show_envvar=True,
    help="Of the web process.",
)
@click.option(
    "--storefront-port", type=PORT, default=9292, show_default=True, help="Of the demo shop."
)
@click.option(
    "--data",
    type=click.Path(resolve_path=True, path_type=Path),
    default=ROOT / ".dev",
    show_default=".dev in the project",
    help="Folder of the databases; made where it is missing, and kept.",
)
@click.option(
    "--seed",
    type=click.IntRange(1),
    help="Fill the demo shop with about so many events of the last year first.",
)
def dev(port: int, storefront_port: int, data: Path, seed: int | None) -> None:
    """Run the whole system on this machine, with nothing installed but Python.

    \b
    It starts
      postgres    PostgreSQL, unless DATABASE_URL is set: then that one is used
      valkey      Valkey, which speaks Redis, unless REDIS_URL is set: then that one
      migrations  flask db upgrade
      web         gunicorn
      worker      flask worker
      storefront  what a shopper talks to; does what Shopify's app proxy does

    and, once all of it answers, shows a call to try. Ctrl-C stops everything, and the next start
    finds the data again. Code is not reloaded: start again after a change.

    \b
    Examples:
      flask dev
      flask dev --seed 100000
      flask dev --port 8001 --storefront-port 9293 --data ~/other-data
      REDIS_URL=redis://127.0.0.1:6379 flask dev
    """
    try:
        system = import_module("app.dev.system")
    except ModuleNotFoundError as error:
        message = f"{error.name} is not installed. Run: pip install -e '.[dev]'"
        raise click.ClickException(message) from error
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # sent when the terminal is closed
        signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
    try:
        system.run(port, storefront_port, data, seed)
        code = 1  # something ended by itself
    except KeyboardInterrupt:
        code = 0
    sys.exit(code)


@click.command(short_help="Print a signed URL, for curl without a storefront.")
@click.option("--shop", default=DEV_SHOP, show_default=True, help="For which Shopify would sign.")
@click.option("--customer", default="", help="Id of a customer who is logged in.")
@click.option(
    "--base-url",
    show_default="http://127.0.0.1:$PORT, or port 8000",
    help="Where the web process listens.",
)
@click.option("--path", show_default="that of the tracking events", help="What is to be called.")
def sign(shop: str, customer: str, base_url: str | None, path: str | None) -> None:
    """Print a URL of the web process, signed as Shopify's app proxy would sign it.

    It is valid for 90 seconds. The secret is the first of SHOPIFY_API_SECRET, or that of
    `flask dev` where none is set.

    \b
    Example:
      curl "$(flask sign)" -d '{"events": [], "context": {}}'
    """
    secret = signing_secret()
    if secret is None:
        click.echo("SHOPIFY_API_SECRET is not set: signed with the secret of `flask dev`", err=True)
    base_url = base_url or f"http://127.0.0.1:{os.environ.get('PORT') or 8000}"
    path = "/" + (path or events_path()).lstrip("/")
    query = signed_query(path, [], shop=shop, customer=customer, secret=secret or DEV_SECRET)
    click.echo(f"{base_url.rstrip('/')}{path}?{query}")
