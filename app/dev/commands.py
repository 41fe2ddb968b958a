"""`flask dev` and `flask sign`.

The servers and psutil are development packages: what needs them is imported when `flask dev` runs,
so that production can load its commands without them.
"""

import errno
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import click

from app.dev import (
    DEV_API_KEY,
    DEV_SECRET,
    DEV_SHOP,
    ROOT,
    documented_call,
    events_path,
    signed_query,
    signing_secret,
)
from app.store.connections import connect

if TYPE_CHECKING:
    from app.dev.servers import Background

PORT_TIMEOUT = 3.0  # s, for the processes of a run that was killed a moment ago to stop
PORT = click.IntRange(1, 65535)
FLASK = (sys.executable, "-m", "flask", "--app", "app")


@click.command(short_help="Run the whole system on this machine.")
@click.option("--port", type=PORT, envvar="PORT", default=8000, show_default=True, show_envvar=True)
@click.option("--storefront-port", type=PORT, default=9292, show_default=True)
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
        servers = import_module("app.dev.servers")
    except ModuleNotFoundError as error:
        message = f"{error.name} is not installed. Run: pip install -e '.[dev]'"
        raise click.ClickException(message) from error
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # sent when the terminal is closed
        signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
    embedded = {
        name: data / server.log
        for name, server in servers.SERVERS.items()
        if not os.environ.get(server.variable, "").strip()
    }
    try:
        with servers.claim(data):
            _check_ports(port, storefront_port)
        click.echo(f"Starting {' and '.join(embedded) or 'no database'}, data in {data}")
        with servers.in_background(data, list(embedded)) as background:
            code = _run_processes(port, storefront_port, data, background, embedded, seed)
            click.echo("Stopping the databases")
    except servers.ServerError as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        code = 0
    sys.exit(code)


@click.command(short_help="Print a signed URL, for curl without a storefront.")
@click.option("--shop", default=DEV_SHOP, show_default=True)
@click.option("--customer", default="", help="Id of a customer who is logged in.")
@click.option("--base-url", show_default="http://127.0.0.1:$PORT, or port 8000")
@click.option("--path", show_default="that of the tracking events")
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


def _check_ports(port: int, storefront_port: int) -> None:
    if port == storefront_port:
        raise click.ClickException("--port and --storefront-port must differ.")
    deadline = time.monotonic() + PORT_TIMEOUT
    for number, option in ((port, "--port"), (storefront_port, "--storefront-port")):
        while fault := _fault(number):
            if fault.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                taken = fault.errno == errno.EADDRINUSE
                cause = "is taken" if taken else f"cannot be used ({fault.strerror})"
                raise click.ClickException(
                    f"Port {number} {cause}: choose another with {option}."
                ) from fault
            time.sleep(0.1)


def _fault(port: int) -> OSError | None:
    """Why a process cannot listen at `port`."""
    for host in ("127.0.0.1", "0.0.0.0"):  # noqa: S104 - on macOS neither implies the other
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as fault:
                return fault
    return None


def _run_processes(
    port: int,
    storefront_port: int,
    data: Path,
    background: "Background",
    logs: Mapping[str, Path],
    seed: int | None,
) -> int:
    """Migrate, then run everything until one process ends. KeyboardInterrupt where we are told to
    stop."""
    exports = dict(background.urls)
    if signing_secret() is None:
        exports["SHOPIFY_API_SECRET"] = DEV_SECRET
        click.echo(f"SHOPIFY_API_SECRET is not set: using {DEV_SECRET}")
    env = _environment(port, data, exports)

    click.echo("Applying the migrations")
    upgrade = [*FLASK, "db", "upgrade"]
    code = subprocess.run(upgrade, cwd=ROOT, env=env, check=False).returncode  # noqa: S603
    if code:
        raise click.ClickException(f"flask db upgrade failed, exit code {code}.")

    if seed:
        _seed(env["DATABASE_URL"], seed)

    click.echo("Starting the processes")
    commands = _commands(port, storefront_port, logs)
    storefront = f"http://localhost:{storefront_port}"

    def announce() -> bool:
        answering = _is_healthy(port) and _listens(storefront_port)
        if answering:
            click.echo(_overview(port, storefront, data, exports))
        return answering

    _supervise(commands, env, background, announce)
    return 1


def _environment(port: int, data: Path, exports: dict[str, str]) -> dict[str, str]:
    """The processes'. What is set already goes before the defaults."""
    defaults = {
        "SHOPIFY_API_KEY": DEV_API_KEY,
        "WEB_CONCURRENCY": "1",
        "SPOOL_DIR": str(data / "spool"),
    }
    if sys.stdout.isatty():  # the processes' own output is a pipe
        defaults["LOG_FORMAT"] = "text"
    given = {name: value for name, value in os.environ.items() if value.strip()}
    return defaults | given | exports | {"PORT": str(port), "PYTHONUNBUFFERED": "1"}


def _commands(
    port: int, storefront_port: int, logs: Mapping[str, Path]
) -> dict[str, Sequence[str]]:
    python = (sys.executable, "-m")
    gunicorn = (*python, "gunicorn", "--config", "config/gunicorn.py")
    target = ("--port", str(storefront_port), "--target", f"http://127.0.0.1:{port}")
    return {
        "web": (*gunicorn, "--bind", f"127.0.0.1:{port}", "app:create_app()"),
        "worker": (*FLASK, "worker"),
        "storefront": (*python, "app.dev.storefront", *target),
        **{name: ("tail", "-n", "0", "-F", str(log)) for name, log in logs.items()},
    }


def _supervise(
    commands: Mapping[str, Sequence[str]],
    env: Mapping[str, str],
    background: "Background",
    announce: Callable[[], bool],
) -> None:
    """Run the commands until one of them, or the databases' process, ends. `announce` is asked
    until it has found everything answering."""
    from app.dev.processes import Processes

    announced = False
    with Processes() as processes:
        for name, command in commands.items():
            processes.start(name, command, env)
        while not processes.ended() and background.process.poll() is None:
            announced = announced or announce()
            time.sleep(0.1)


def _seed(database_url: str, events: int) -> None:
    from app.dev.seed import count, seed, uncounted

    with connect(database_url, "seed") as connection:
        filling = f"Filling {DEV_SHOP} with a year of about {events:,} events"
        with click.progressbar(length=events, label=filling) as bar:
            stored = seed(connection, DEV_SHOP, events, bar.update)
        if not stored:
            click.echo("It was filled before; another --data folder has room for another year.")
            return
        counting = f"Counting {stored:,} events for the merchant's page"
        with click.progressbar(length=uncounted(connection), label=counting) as bar:
            count(connection, bar.update)


def _is_healthy(port: int) -> bool:
    with closing(HTTPConnection("127.0.0.1", port, timeout=1)) as connection:
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _overview(port: int, storefront: str, data: Path, exports: Mapping[str, str]) -> str:
    lines = "\n".join(f"export {name}={shlex.quote(value)}" for name, value in exports.items())
    return f"""
Ready. Ctrl-C stops everything.

  demo shop   {storefront}
  merchant    {storefront}/admin
  web         http://127.0.0.1:{port}
  data        {data}

For flask, psql, redis-cli or the tests in another terminal:

{lines or "(nothing: all of it was set before)"}

Try it, through the storefront:

{documented_call(storefront + events_path())}

And see what was stored last:

{_last_row(exports)}
"""


def _last_row(exports: Mapping[str, str]) -> str:
    """A shell's line that shows it, with this machine's psql or the one beside PostgreSQL."""
    from app.dev.servers import PSQL

    url = shlex.quote(exports["DATABASE_URL"]) if "DATABASE_URL" in exports else '"$DATABASE_URL"'
    program = "psql" if shutil.which("psql") else shlex.quote(str(PSQL))
    statement = "SELECT * FROM tracked_events ORDER BY received_at DESC LIMIT 1"
    return f'{program} {url} -P pager=off -xc "{statement}"'
