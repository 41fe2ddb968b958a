"""Real servers, started once a run; an empty database and an empty Redis for each test."""

import gzip
import itertools
import logging
import os
import shutil
import tempfile
import threading
import time
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psycopg
import pytest
import redis
import sentry_sdk
from psycopg import sql

from app import create_app
from app.dev.servers import postgres, valkey
from app.store import migrate
from app.store.connections import connect
from app.store.partitions import create_partitions
from config.settings import Settings
from tests import citus
from tests.calls import SECRET, Caller
from tests.draining import drain
from tests.redis_clusters import cluster
from tests.serving import Client, serving

TEMPLATE = f"genlook_template_{os.getpid()}"
_numbers = itertools.count()

# TRUNCATE costs milliseconds a table, also of an empty one: most tests fill only a few.
_EMPTY = """
DO $$
DECLARE
    name regclass;
    filled boolean;
    to_empty text[] := '{}';
BEGIN
    FOR name IN
        SELECT oid FROM pg_class
        WHERE relnamespace = current_schema()::regnamespace
        AND relkind IN ('r', 'p') AND NOT relispartition AND relname <> 'schema_migrations'
    LOOP
        EXECUTE format('SELECT EXISTS (SELECT 1 FROM %s)', name) INTO filled;
        IF filled THEN to_empty := to_empty || name::text; END IF;
    END LOOP;
    IF to_regclass('pg_dist_partition') IS NOT NULL THEN  -- of all shards it costs a second
        FOREACH name IN ARRAY to_empty LOOP
            EXECUTE format('DELETE FROM %s', name);
        END LOOP;
    ELSIF to_empty <> '{}' THEN
        EXECUTE 'TRUNCATE ' || array_to_string(to_empty, ', ') || ' CASCADE';
    END IF;
    PERFORM setval(format('%I.%I', schemaname, sequencename)::regclass, start_value, false)
    FROM pg_sequences WHERE schemaname = current_schema() AND last_value IS NOT NULL;
END $$
"""


def pytest_terminal_summary(terminalreporter):
    """Here, because with several processes the one that reports knows no other conftest."""
    skipped = terminalreporter.stats.get("skipped", [])
    for title, reason in (
        ("the browser's tests were left out", "no Chromium"),
        ("the tracker's tests in Firefox were left out", "no Firefox"),
        ("the test against blockers' lists was left out", "no lists of blockers"),
        ("tests of the theme app extension were left out", "npm's tools"),
        ("the tests against Citus were left out", "no CITUS_DATABASE_URL"),
    ):
        left_out = [report for report in skipped if reason in str(report.longrepr)]
        if left_out:
            terminalreporter.section(title)
            terminalreporter.line(f"{len(left_out)} tests: {left_out[0].longrepr[2]}")


# Files that mostly wait come first: with several processes, quick ones then fill the time between.
WAITING = ("processes", "campaigns", "dev")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.parent.name not in WAITING)
    for item in items:
        if citus.runs_there(item.path):
            item.add_marker("citus")
            item.add_marker(pytest.mark.timeout(900))  # a statement takes up to ten times as long
            if item.get_closest_marker("one_postgres"):
                item.add_marker(pytest.mark.skip(reason="not on a Citus"))
        elif citus.URL is None and item.get_closest_marker("citus"):
            item.add_marker(pytest.mark.skip(reason=citus.LEFT_OUT))


@pytest.fixture(autouse=True)
def within_the_hour():
    """So that what a test stores, and what it asks for, are of one day in every time zone."""
    left = 3600 - time.time() % 3600
    if left < 4:
        time.sleep(left)


@pytest.fixture(autouse=True)
def no_logging_of_ours():
    """What a test has configured writes to a stream that is closed when others still log."""
    root = logging.getLogger()
    level = root.level
    yield
    root.setLevel(level)
    for handler in [one for one in root.handlers if one.name == "stdout"]:
        root.removeHandler(handler)


@pytest.fixture
def said(caplog):
    """The lines with an action: the level, and the named fields."""
    caplog.set_level(logging.INFO)

    def said(action, *fields):
        return [
            (record.levelname, *(getattr(record, field) for field in fields))
            for record in caplog.records
            if getattr(record, "action", "") == action
        ]

    return said


@pytest.fixture(scope="session")
def servers_folder():
    # Not pytest's own folder: as root, Postgres runs as another user, who must get in here.
    folder = Path(tempfile.mkdtemp(prefix="genlook-tests-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_url(servers_folder):
    if started := os.environ.get("TESTS_POSTGRES_URL"):  # many short runs after each other
        yield started
        return
    with postgres(servers_folder / "postgres") as url:
        with psycopg.connect(url, autocommit=True) as admin:
            admin.execute("ALTER SYSTEM SET fsync = off")  # a third of the run's time
            admin.execute("SELECT pg_reload_conf()")
        yield url


@pytest.fixture(scope="session")
def valkey_url(servers_folder):
    with valkey(servers_folder / "valkey") as url:
        yield url


@pytest.fixture(scope="session")
def cluster_of_three(servers_folder):
    folder = servers_folder / "cluster"
    folder.mkdir()
    with cluster(folder) as three:
        yield three


@pytest.fixture
def three(cluster_of_three):
    """The three primaries of a cluster, empty."""
    yield cluster_of_three
    cluster_of_three.empty()


@pytest.fixture(scope="session")
def template(postgres_url):
    """A database with the schema in it, to clone from."""
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(TEMPLATE)))
    with connect(database_in(postgres_url, TEMPLATE), "tests") as connection:
        migrate.upgrade(connection)
        create_partitions(connection, datetime.now(UTC).date())
    return TEMPLATE


@pytest.fixture(scope="module")
def module_database_url(request):
    if citus.runs_there(request.path):
        with citus.database() as url:
            yield url
        return
    template = request.getfixturevalue("template")
    yield from _database(request.getfixturevalue("postgres_url"), template)


@pytest.fixture
def database_url(module_database_url):
    with psycopg.connect(module_database_url, autocommit=True) as connection:
        connection.execute(_EMPTY)
    return module_database_url


@pytest.fixture
def empty_database_url(request):
    """Without the schema."""
    if citus.runs_there(request.path):
        with citus.database(with_schema=False) as url:
            yield url
        return
    yield from _database(request.getfixturevalue("postgres_url"), "template0")


@pytest.fixture
def database(database_url):
    with connect(database_url, "tests") as connection:
        yield connection


@pytest.fixture
def redis_url(valkey_url):
    with redis.Redis.from_url(valkey_url) as client:
        client.flushall()
    return valkey_url


@pytest.fixture
def redis_client(redis_url):
    with redis.Redis.from_url(redis_url, protocol=2) as client:
        yield client


@pytest.fixture
def settings(database_url, redis_url, tmp_path):
    return Settings(
        database_url=database_url,
        redis_url=redis_url,
        shopify_api_secrets=(SECRET.encode(),),
        spool_dir=str(tmp_path / "spool"),
    )


@pytest.fixture
def app(settings):
    app = create_app(settings)
    yield app
    app.extensions["intake"].close()
    app.extensions["reports"].close()


@pytest.fixture
def client(app):
    """Calls the app as it is called under gunicorn."""
    with serving(app) as server, closing(Client(server, app)) as client:
        yield client


@pytest.fixture
def caller(client, settings, database):
    """Sends signed requests to the app and reads what was stored of them."""
    return Caller(client, database, lambda: drain(settings))


@pytest.fixture
def calling(settings, database):
    """Makes a caller of an app with other settings; it reads rows without a worker."""
    with ExitStack() as stack:

        def make(**changes):
            app = create_app(replace(settings, **changes))
            stack.callback(app.extensions["intake"].close)
            stack.callback(app.extensions["reports"].close)
            client = Client(stack.enter_context(serving(app)), app)
            stack.callback(client.close)
            return Caller(client, database, lambda: None)

        yield make


@pytest.fixture
def sentry():
    """A DSN, and what its server receives."""
    received = []

    class Sink(BaseHTTPRequestHandler):
        def do_POST(self):
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            received.append(gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Sink) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://key@127.0.0.1:{server.server_port}/1", received
        sentry_sdk.get_client().close(timeout=2)
        sentry_sdk.init()
        server.shutdown()


def database_in(server_url, name):
    return psycopg.conninfo.make_conninfo(server_url, dbname=name)


def _database(postgres_url, template):
    name = f"test_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                sql.Identifier(name), sql.Identifier(template)
            )
        )
        yield database_in(postgres_url, name)
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
