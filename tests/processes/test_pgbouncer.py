"""PgBouncer in transaction mode between us and Postgres: Debian's, really started."""

import os
import shutil
import subprocess
import tempfile
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import psycopg
import pytest

from app.store import writers
from app.store.connections import connect, request_pool
from tests.campaigns.ledger import SHOPS, Ledger
from tests.processes.running import flask, free_port, wait_until
from tests.redis_servers import KEEPS, VALKEY, redis_server

PGBOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PGBOUNCER, reason="there is no pgbouncer: apt-get install pgbouncer"),
]

CONFIG = """
[databases]
* = host={host} port=5432 user=postgres

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
auth_type = any
pool_mode = transaction
default_pool_size = {size}
max_client_conn = 500
ignore_startup_parameters = extra_float_digits
unix_socket_dir =
logfile =
pidfile =
"""
SIZE = 4


@pytest.fixture
def bouncer(database_url):
    """The database's address by way of PgBouncer."""
    told = psycopg.conninfo.conninfo_to_dict(database_url)
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="genlook-pgbouncer-") as folder:
        Path(folder).chmod(0o755)
        file = Path(folder) / "pgbouncer.ini"
        file.write_text(CONFIG.format(host=told["host"], port=port, size=SIZE))
        # It refuses to run as root; Postgres's own user gets to the socket.
        user = Path(told["host"]).owner() if os.geteuid() == 0 else None
        process = subprocess.Popen([PGBOUNCER, "-q", file], user=user)
        url = f"postgresql://postgres@127.0.0.1:{port}/{told['dbname']}"
        try:
            wait_until(lambda: answers(url))
            yield url
        finally:
            process.terminate()
            process.wait()


def answers(url):
    with suppress(psycopg.OperationalError), psycopg.connect(url, connect_timeout=2):
        return True
    return False


@pytest.fixture
def redis(tmp_path):
    """Of this test alone, on a port that no other run's worker has heard of."""
    with redis_server(VALKEY, tmp_path / "redis", **KEEPS) as client:
        yield client


def connections_of(database):
    """By PgBouncer to Postgres, whoever uses them."""
    return database.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
    ).fetchone()[0]


def test_many_callers_share_a_few_connections(bouncer, database):
    def call(connection):
        for _ in range(20):
            with connection.transaction():
                connection.execute("SELECT pg_sleep(0.005)")

    with ExitStack() as stack:
        callers = [stack.enter_context(connect(bouncer, "web")) for _ in range(40)]
        threads = [threading.Thread(target=call, args=[one]) for one in callers]
        for thread in threads:
            thread.start()
        most = 0
        while any(thread.is_alive() for thread in threads):
            most = max(most, connections_of(database))
            time.sleep(0.01)
        for thread in threads:
            thread.join()
    assert 1 < most <= SIZE


def test_web_and_worker_store_each_event_once_and_reports_are_read(
    bouncer,
    database,
    settings,
    redis,
    start_web,
    start_worker,
):
    web = start_web(DATABASE_URL=bouncer, REDIS_URL=redis.url, INTAKE="auto", WEB_CONCURRENCY="3")
    direct = start_web(
        DATABASE_URL=bouncer, REDIS_URL=redis.url, INTAKE="store", WEB_CONCURRENCY="3"
    )
    start_worker(DATABASE_URL=bouncer, REDIS_URL=redis.url)
    ledgers = [Ledger(one.port, seed) for one, seed in ((web, 1), (direct, 2))]
    for ledger in ledgers:
        ledger.start(3)
    most, ends_at = 0, time.monotonic() + 4
    while time.monotonic() < ends_at:
        most = max(most, connections_of(database))
        time.sleep(0.02)
    for ledger in ledgers:
        ledger.stop()
    rows = "SELECT shop_domain, insert_id FROM tracked_events"
    acknowledged = ledgers[0].acknowledged | ledgers[1].acknowledged
    wait_until(lambda: acknowledged <= {*database.execute(rows)})
    stored = database.execute(rows).fetchall()
    assert len(stored) == len(set(stored)) > 200
    assert 0 < most <= SIZE
    with_bouncer = {
        "REDIS_URL": redis.url,
        "DATABASE_URL": bouncer,
        "REPORTS_DATABASE_URL": bouncer,
    }
    for words in (
        ("db", "upgrade"), ("db", "maintain"), ("status",),
        ("report", "funnel", "--shop", SHOPS[0]), ("report", "rebuild", "--shop", SHOPS[0]),
    ):  # fmt: skip
        done = flask(settings, *words, **with_bouncer)
        assert done.returncode == 0, done.stderr


def test_a_writer_behind_it_is_waited_for_by_its_name(bouncer, database):
    with connect(bouncer, "web") as writing:
        writing.execute("BEGIN")
        waiting = threading.Thread(target=writers.wait_for_writers, args=[database])
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()
        writing.execute("COMMIT")
        waiting.join(5)
        assert not waiting.is_alive()


def test_a_pool_of_requests_works_and_a_request_keeps_its_time_limit(bouncer):
    with request_pool(bouncer) as pool:
        with pytest.raises(psycopg.OperationalError), pool.connection(5) as connection:
            connection.execute("SELECT pg_sleep(2)")
        with pool.connection(5) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
