"""Each contender as its processes, and what they use, read from /proc."""

import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.processes.running import ROOT, free_port, wait_until

CONTENDERS = Path(__file__).parent / "contenders"
MODULES = "tests.bench.contenders"
PROCFILE = dict(line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines())
PATH = "/apps/proxy_genlook-x/public/tracking/events"
SECRET = "bench-secret"


@dataclass(frozen=True)
class Contender:
    title: str
    web: str
    worker: str | None = None
    folder: Path = ROOT
    table: str | None = "flat_events"


OURS = Contender("ours", PROCFILE["web"], PROCFILE["worker"], table="events")
JAVASCRIPT = CONTENDERS / "javascript"
EXPRESS = Contender("Express", "node express.js", folder=JAVASCRIPT)
FASTIFY = Contender("Fastify", "node fastify.js", folder=JAVASCRIPT)
BUN = Contender("Bun", "node_modules/.bin/bun bun.js", folder=JAVASCRIPT)
FASTAPI = Contender(
    "FastAPI", f"uvicorn {MODULES}.fastapi_app:app --port $PORT --no-access-log --log-level warning"
)
FLASK = Contender(
    "Flask", f"gunicorn --bind 127.0.0.1:$PORT --threads 8 --keep-alive 95 {MODULES}.flask_app:app"
)
EMPTY_FLASK = Contender(
    "empty Flask route",
    f"gunicorn --config tests/bench/contenders/empty_gunicorn.py {MODULES}.empty_flask:app",
    table=None,
)


class Group:
    """A process and all that it started."""

    def __init__(self, pid):
        self._root = psutil.Process(pid)

    def cpu(self):
        """Seconds of processor time, those of children that ended included."""
        total = 0.0
        for process in [self._root, *self._root.children(recursive=True)]:
            try:
                times = process.cpu_times()
            except psutil.NoSuchProcess:
                continue
            total += times.user + times.system + times.children_user + times.children_system
        return total

    def memory(self):
        """Resident bytes of each process."""
        family = [self._root, *self._root.children(recursive=True)]
        return [process.memory_info().rss for process in family]


@contextmanager
def running(contender, servers, folder, **variables):
    """The contender's processes, ready to be called; the value is (port, groups by name)."""
    port = free_port()
    env = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "DATABASE_URL": servers.database_url,
        "REDIS_URL": servers.redis_url,
        "SHOPIFY_API_SECRET": SECRET,
        "SPOOL_DIR": str(folder / "spool"),
        "PORT": str(port),
        "WEB_CONCURRENCY": "1",
        "RATE_LIMIT_SHOP_PER_MINUTE": "0",
        "RATE_LIMIT_VISITOR_PER_MINUTE": "0",
        "RATE_LIMIT_SHOP_BYTES_PER_MINUTE": "0",
        "RATE_LIMIT_VISITOR_BYTES_PER_MINUTE": "0",
        "NODE_ENV": "production",
        **variables,
    }
    started = []
    try:
        groups = {}
        for name in ("web", "worker"):
            command = getattr(contender, name)
            if command:
                with (folder / f"{name}.log").open("ab") as log:
                    process = subprocess.Popen(
                        f"exec {command}",
                        shell=True,
                        cwd=contender.folder,
                        env=env,
                        stdout=log,
                        stderr=log,
                        start_new_session=True,
                    )
                started.append(process)
                groups[name] = Group(process.pid)
        wait_until(lambda: _accepts_connections(port), 60)
        yield port, groups
    finally:
        for process in started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        for process in started:
            process.wait(30)


def _accepts_connections(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
