"""The processes of the Procfile, started from environment variables alone."""

import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import psutil
from psycopg.conninfo import conninfo_to_dict

from tests.calls import SECRET

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
# Which test reaches which line of these processes too (tests/mutation).
RECORDED = ("COVERAGE_PROCESS_START", "COVERAGE_FILE", "PYTEST_CURRENT_TEST")


def environment(settings, **variables):
    return {
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "DATABASE_URL": as_url(settings.database_url),
        "REDIS_URL": settings.redis_url,
        "SHOPIFY_API_SECRET": SECRET,
        "SPOOL_DIR": settings.spool_dir,
        "WEB_CONCURRENCY": "2",
        **{name: os.environ[name] for name in RECORDED if name in os.environ},
        **variables,
    }


def as_url(conninfo):
    parts = conninfo_to_dict(conninfo)
    password = f":{quote(parts['password'])}" if "password" in parts else ""
    port = f"&port={parts['port']}" if "port" in parts else ""
    return f"postgresql://{parts['user']}{password}@/{parts['dbname']}?host={parts['host']}{port}"


def free_port():
    """Not one of those that the system takes for outgoing connections, from 32,768 on: it would be
    taken now and then before the server is there, which has its folder to make first."""
    while True:
        port = 16_000 + secrets.randbelow(16_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def flask(settings, *words, release=ROOT, **variables):
    """A command of flask, run to its end; `release` is the folder of another release."""
    return subprocess.run(
        [sys.executable, "-m", "flask", *words],
        cwd=release,
        env=environment(settings, PYTHONPATH=str(release), **variables),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


class Running:
    """A line of the Procfile as a process of its own group, its output in a file."""

    def __init__(self, line, env, log, command=None, release=ROOT):
        """`command` instead of the Procfile's, where a test needs another; `release` is the folder
        of another release."""
        self.log, self.env = log, env
        procfile = (release / "Procfile").read_text().splitlines()
        command = command or dict(entry.split(": ", 1) for entry in procfile)[line]
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                f"exec {command}",
                shell=True,
                cwd=release,
                env=env | {"PYTHONPATH": str(release)},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def output(self):
        return self.log.read_text()

    def peak(self):
        """The most memory it has had so far, in bytes."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", text)[1]) * 1024

    def terminate(self):
        """SIGTERM to every process of the group, as Heroku does; seconds until it was over."""
        started = time.monotonic()
        os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait(30)
        return time.monotonic() - started

    def kill(self):
        """SIGKILL to the process and all its children."""
        if self.process.poll() is None:
            for process in [*psutil.Process(self.process.pid).children(True), self.process]:
                process.kill()
            self.process.wait()


def wait_until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=1) as reply:
            return reply.status == 200
    except (urllib.error.URLError, OSError):
        return False
