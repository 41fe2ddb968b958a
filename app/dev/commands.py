"""`flask dev` and `flask sign`.

honcho and the servers are development packages: they are imported when `flask dev` runs, so that
production can load its commands without them.
"""

import errno
import multiprocessing
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPException
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from app.dev import (
    DEV_API_KEY,
    DEV_SECRET,
    DEV_SHOP,
    documented_call,
    events_path,
    signed_query,
    signing_secret,
)
from app.store.connections import connect

ROOT = Path(__file__).resolve().parents[2]
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STOP_TIMEOUT = 25.0  # s, as on the platform
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
        import_module("honcho.manager")
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
        with servers.in_background(data, list(embedded)) as urls:
            code = _run_processes(port, storefront_port, data, urls, logs=embedded, seed=seed)
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
    for number, option in ((port, "--port"), (storefront_port, "--storefront-port")):
        for host in ("127.0.0.1", "0.0.0.0"):  # noqa: S104 - on macOS neither implies the other
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((host, number))
                except OSError as error:
                    taken = error.errno == errno.EADDRINUSE
                    cause = "is taken" if taken else f"cannot be used ({error.strerror})"
                    message = f"Port {number} {cause}: choose another with {option}."
                    raise click.ClickException(message) from error


def _run_processes(
    port: int,
    storefront_port: int,
    data: Path,
    urls: Mapping[str, str],
    logs: Mapping[str, Path],
    seed: int | None,
) -> int:
    """Migrate, then run everything until one process ends or we are told to stop."""
    exports = dict(urls)
    if signing_secret() is None:
        exports["SHOPIFY_API_SECRET"] = DEV_SECRET
        click.echo(f"SHOPIFY_API_SECRET is not set: using {DEV_SECRET}")
    defaults = {
        "SHOPIFY_API_KEY": DEV_API_KEY,
        "WEB_CONCURRENCY": "1",
        "SPOOL_DIR": str(data / "spool"),
    }
    if sys.stdout.isatty():  # the processes' own output is a pipe
        defaults["LOG_FORMAT"] = "text"
    given = {name: value for name, value in os.environ.items() if value.strip()}
    env = defaults | given | exports | {"PORT": str(port), "PYTHONUNBUFFERED": "1"}

    click.echo("Applying the migrations")
    upgrade = [*FLASK, "db", "upgrade"]
    code = subprocess.run(upgrade, cwd=ROOT, env=env, check=False).returncode  # noqa: S603
    if code:
        raise click.ClickException(f"flask db upgrade failed, exit code {code}.")

    if seed:
        _seed(env["DATABASE_URL"], seed)

    python = [sys.executable, "-m"]
    web, storefront = f"http://127.0.0.1:{port}", ["--port", str(storefront_port)]
    gunicorn = [*python, "gunicorn", "--config", "config/gunicorn.py"]
    commands = {
        "web": [*gunicorn, "--bind", f"127.0.0.1:{port}", "app:create_app()"],
        "worker": [*FLASK, "worker"],
        "storefront": [*python, "app.dev.storefront", *storefront, "--target", web],
        **{name: ["tail", "-n", "0", "-F", str(log)] for name, log in logs.items()},
    }

    def announce() -> None:
        while not (_is_healthy(port) and _listens(storefront_port)):
            time.sleep(0.2)
        click.echo(_overview(web, f"http://localhost:{storefront_port}", data, exports))

    click.echo("Starting the processes")
    return _supervise(commands, env, announce)


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


def _overview(web: str, storefront: str, data: Path, exports: Mapping[str, str]) -> str:
    lines = "\n".join(f"export {name}={shlex.quote(value)}" for name, value in exports.items())
    return f"""
Ready. Ctrl-C stops everything.

  demo shop   {storefront}
  merchant    {storefront}/admin
  web         {web}
  data        {data}

For flask, psql, redis-cli or the tests in another terminal:

{lines or "(nothing: all of it was set before)"}

Try it, through the storefront:

{documented_call(storefront + events_path())}
"""


def _supervise(
    commands: Mapping[str, Sequence[str]], env: Mapping[str, str], when_started: Callable[[], None]
) -> int:
    """Run the commands until one of them ends; 0 only where it was us who were told to stop."""
    from honcho import manager as honcho

    honcho.KILL_WAIT = STOP_TIMEOUT

    class Manager(honcho.Manager):  # type: ignore[misc]  # honcho has no types
        def _start(self) -> None:
            # A Ctrl-C at this moment waits until each new process has handlers of its own.
            signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
            super()._start()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
            # Not before: a fork copies locks that another thread holds.
            threading.Thread(target=when_started, daemon=True).start()

        def terminate(self) -> None:
            if self._all_started():
                super().terminate()
            else:  # it would stumble over the process ids that it does not know yet
                again = threading.Timer(0.1, self.terminate)
                again.daemon = True
                again.start()

    manager = Manager(honcho.Printer(Terminal()))
    manager._process_ctor = Tied
    for name, command in commands.items():
        manager.add_process(name, f"exec {shlex.join(command)}", env=dict(env), cwd=str(ROOT))
    manager.loop()
    told_to_stop = {sig["rc"] for sig in honcho.SIGNALS.values()}
    return 0 if manager.returncode in told_to_stop else 1


class Tied:
    """A process for honcho's manager that ends with `flask dev` even where that one is killed."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.args, self.options = args, options

    def run(self, events: Any, ignore_signals: bool) -> None:
        # A Ctrl-C reaches this process too, with the manager's handlers in it. They must not run,
        # and SIG_IGN would be inherited by the command.
        for signum in STOP_SIGNALS:
            signal.signal(signum, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        from honcho.process import Process

        process = Process(*self.args, **self.options)
        threading.Thread(target=self._end_with_parent, args=(process,), daemon=True).start()
        process.run(events, ignore_signals)

    @staticmethod
    def _end_with_parent(process: Any) -> None:
        if parent := multiprocessing.parent_process():
            parent.join()
        with suppress(ProcessLookupError):
            os.killpg(process._child.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process._child.wait(STOP_TIMEOUT)
            os.killpg(process._child.pid, signal.SIGKILL)
        os._exit(1)


class Terminal:
    """stdout for as long as it is there; when it goes, everything stops."""

    def isatty(self) -> bool:
        return sys.stdout.isatty()

    def write(self, text: str) -> None:
        self._try(lambda: sys.stdout.write(text))

    def flush(self) -> None:
        self._try(sys.stdout.flush)

    @staticmethod
    def _try(write: Callable[[], object]) -> None:
        try:
            write()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            signal.raise_signal(signal.SIGTERM)
