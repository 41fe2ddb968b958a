"""Databases of a test's own on the Citus that CITUS_DATABASE_URL names, one of its coordinator."""

import itertools
import os
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime

import psycopg
from psycopg import sql

from app.store import migrate
from app.store.connections import connect
from app.store.distribute import distribute
from app.store.partitions import create_partitions

URL = os.environ.get("CITUS_DATABASE_URL") or None
LEFT_OUT = "no CITUS_DATABASE_URL: it names a coordinator that has two workers"
FOLDERS = ("store", "worker", "counts", "privacy")  # of the tests that run there as well
_SHARDS = 4
_numbers = itertools.count()


def runs_there(path):
    """Whether a test of this file runs on the Citus, if one is named."""
    return URL is not None and path.parent.name in FOLDERS


@contextmanager
def database(*, with_schema=True):
    """The address of a new database of all nodes."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(URL) as admin:
        nodes = admin.execute(
            "SELECT nodename, nodeport FROM pg_dist_node ORDER BY groupid"
        ).fetchall()
    url = psycopg.conninfo.make_conninfo(URL, dbname=name)
    with ExitStack() as stack:
        for host, port in nodes:
            node = psycopg.conninfo.make_conninfo(URL, host=host, port=port)
            stack.enter_context(_on_node(node, name))
        (coordinator, *workers) = nodes
        with psycopg.connect(url, autocommit=True) as admin:
            admin.execute("SELECT citus_set_coordinator_host(%s, %s)", coordinator)
            for worker in workers:
                admin.execute("SELECT citus_add_node(%s, %s)", worker)
            admin.execute(f"ALTER DATABASE {name} SET citus.shard_count = {_SHARDS}")
        if with_schema:
            with connect(url, "tests") as connection:
                migrate.upgrade(connection)
                create_partitions(connection, datetime.now(UTC).date())
                distribute(connection, lambda table: None)
        yield url


@contextmanager
def _on_node(url, name):
    database = sql.Identifier(name)
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(database))
    own = psycopg.conninfo.make_conninfo(url, dbname=name)
    with psycopg.connect(own, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION citus")
    yield
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(database))
