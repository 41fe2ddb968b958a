"""All that `flask dev` runs, from the databases to the storefront."""

import errno
import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import click

from app.dev import (
    DEV_API_KEY,
    DEV_SECRET,
    DEV_SHOP,
    ROOT,
    documented_call,
    events_path,
    signing_secret,
)
from app.dev import (
    seed as seeding,
)
from app.dev.processes import Processes
from app.dev.servers import PSQL, SERVERS, ServerError, claim, in_background
from app.store.connections import connect

PORT_TIMEOUT = 3.0  # s, for the processes of a run that was killed a moment ago to stop
FLASK = (sys.executable, "-m", "flask", "--app", "app")


def run(port: int, storefront_port: int, data: Path, seed: int | None) -> None:
    """Run everything until one process ends. KeyboardInterrupt where we are told to stop,
    ClickException where it cannot start."""
    embedded = {
        name: data / server.log
        for name, server in SERVERS.items()
        if not os.environ.get(server.variable, "").strip()
    }
    try:
        with claim(data):
            _check_ports(port, storefront_port)
        click.echo(f"Starting {' and '.join(embedded) or 'no database'}, data in {data}")
        with in_background(data, list(embedded)) as (urls, databases):
            exports = _exports(urls)
            env = _environment(port, data, exports)
            _prepare(env, seed)
            click.echo("Starting the processes")
            overview = partial(_overview, port, storefront_port, data, exports)
            _supervise(_commands(port, storefront_port, embedded), env, databases, overview)
    except ServerError as error:
        raise click.ClickException(str(error)) from error


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


def _exports(urls: Mapping[str, str]) -> dict[str, str]:
    """What is not set already, for the processes and for a developer's other terminals."""
    if signing_secret() is not None:
        return dict(urls)
    click.echo(f"SHOPIFY_API_SECRET is not set: using {DEV_SECRET}")
    return {**urls, "SHOPIFY_API_SECRET": DEV_SECRET}


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


def _prepare(env: Mapping[str, str], seed: int | None) -> None:
    click.echo("Applying the migrations")
    upgrade = (*FLASK, "db", "upgrade")
    code = subprocess.run(upgrade, cwd=ROOT, env=env, check=False).returncode  # noqa: S603
    if code:
        raise click.ClickException(f"flask db upgrade failed, exit code {code}.")
    if seed:
        _seed(env["DATABASE_URL"], seed)


def _supervise(
    commands: Mapping[str, Sequence[str]],
    env: Mapping[str, str],
    databases: subprocess.Popen[str],
    overview: Callable[[], str | None],
) -> None:
    """Run the commands until one of them, or the databases' process, ends. `overview` is asked for
    until there is one."""
    text = None
    with Processes() as processes:
        for name, command in commands.items():
            processes.start(name, command, env)
        while not processes.ended() and databases.poll() is None:
            if text is None and (text := overview()):
                click.echo(text)
            time.sleep(0.1)


def _seed(database_url: str, events: int) -> None:
    with connect(database_url, "seed") as connection:
        filling = f"Filling {DEV_SHOP} with a year of about {events:,} events"
        with click.progressbar(length=events, label=filling) as bar:
            stored = seeding.seed(connection, DEV_SHOP, events, bar.update)
        if not stored:
            click.echo("It was filled before; another --data folder has room for another year.")
            return
        counting = f"Counting {stored:,} events for the merchant's page"
        with click.progressbar(length=seeding.uncounted(connection), label=counting) as bar:
            seeding.count(connection, bar.update)


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


def _overview(
    port: int, storefront_port: int, data: Path, exports: Mapping[str, str]
) -> str | None:
    """What to try, once all of it answers."""
    if not (_is_healthy(port) and _listens(storefront_port)):
        return None
    storefront = f"http://localhost:{storefront_port}"
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
    url = shlex.quote(exports["DATABASE_URL"]) if "DATABASE_URL" in exports else '"$DATABASE_URL"'
    program = "psql" if shutil.which("psql") else shlex.quote(str(PSQL))
    statement = "SELECT * FROM tracked_events ORDER BY received_at DESC LIMIT 1"
    return f'{program} {url} -P pager=off -xc "{statement}"'
