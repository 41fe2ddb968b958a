"""A Postgres of a test's own and a standby that streams from it, to be killed and promoted."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import psycopg

from app.dev.servers import PSQL
from tests.processes.running import free_port, wait_until

BIN = PSQL.parent
OLDEST = Path("/usr/lib/postgresql/15/bin")  # Debian's; no older one is supported
_USER = "embedded_postgres" if os.geteuid() == 0 else None  # Postgres refuses to run as root


class Server:
    def __init__(self, folder, options, programs=BIN):
        self.folder, self.port = folder, free_port()
        self._options, self._programs = options, programs
        self.address = f"127.0.0.1:{self.port}"
        self.url = f"postgresql://postgres@{self.address}/postgres"

    def start(self):
        options = {"port": self.port, "listen_addresses": "127.0.0.1", "fsync": "off",
                   "unix_socket_directories": "", **self._options}  # fmt: skip
        words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        with (self.folder.parent / f"{self.folder.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                [self._programs / "postgres", "-D", self.folder, *words], stdout=log, stderr=log,
                user=_USER, cwd="/",
            )  # fmt: skip
        try:
            wait_until(self.answers)
        except AssertionError:
            self.stop()
            raise

    def answers(self):
        with suppress(psycopg.OperationalError), psycopg.connect(self.url, connect_timeout=2):
            return True
        return False

    def promote(self):
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("SELECT pg_promote()")

    def freeze(self):
        """It and all that it has forked."""
        self._signal(signal.SIGSTOP)

    def go_on(self):
        self._signal(signal.SIGCONT)

    def _signal(self, number):
        family = psutil.Process(self.process.pid)
        for process in [family, *family.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):  # a backend may have ended meanwhile
                process.send_signal(number)

    def kill(self):
        """It and all that it has forked, as a machine that stops."""
        self._signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
                return
            self.kill()


@contextmanager
def _folder():
    folder = Path(tempfile.mkdtemp(prefix="genlook-postgres-"))
    if _USER:
        os.chown(folder, pwd.getpwnam(_USER).pw_uid, -1)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def oldest():
    """A server of the oldest version that is supported."""
    with _folder() as folder:
        server = Server(folder / "oldest", {}, OLDEST)
        _init(server, OLDEST)
        server.start()
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def primary_and_standby(**options_of_standby):
    """Both run; the standby has all that the primary has."""
    with _folder() as folder:
        primary = Server(folder / "primary", {})
        standby = Server(folder / "standby", options_of_standby)
        _init(primary, BIN)
        primary.start()
        try:
            _run("pg_basebackup", "-d", primary.url, "-D", standby.folder, "-R", "-c", "fast",
                 "--no-sync")  # fmt: skip
            standby.start()
            try:
                yield primary, standby
            finally:
                standby.stop()
        finally:
            primary.stop()


def caught_up(primary, standby):
    with psycopg.connect(primary.url) as one, psycopg.connect(standby.url) as other:
        lsn = one.execute("SELECT pg_current_wal_lsn()").fetchone()[0]
        return other.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", [lsn]).fetchone()[0]


def _init(server, programs):
    words = ("-D", server.folder, "-U", "postgres", "-A", "trust", "--no-sync")
    _run("initdb", *words, programs=programs)


def _run(program, *words, programs=BIN):
    subprocess.run(
        [programs / program, *words], check=True, capture_output=True, user=_USER, cwd="/"
    )
