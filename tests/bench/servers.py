"""The PostgreSQL and the Valkey that all contenders share, and what they use."""

import time
from contextlib import contextmanager
from pathlib import Path

import psycopg
from redis import Redis

from app.counts.rollups import seconds_behind
from app.dev.servers import postgres, valkey
from app.store import migrate
from app.store.connections import connect
from tests.bench.load import LoadError
from tests.bench.processes import CONTENDERS, Group

_SIZE = """
SELECT sum(pg_total_relation_size(oid)) FROM pg_class
WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace
AND (relname = 'flat_events') = %s AND relname ~ '^((flat_)?events|stored_batches|contexts)'
"""

_TABLES = """
SELECT string_agg(oid::regclass::text, ', ') FROM pg_class
WHERE relkind IN ('r', 'p') AND NOT relispartition AND relnamespace = 'public'::regnamespace
AND relname <> 'schema_migrations'
"""


class Servers:
    def __init__(self, database_url, redis_url, folder):
        self.database_url = database_url
        self.redis_url = redis_url
        self.redis = Redis.from_url(redis_url)
        self._database = psycopg.connect(database_url, autocommit=True)
        pid = int((folder / "postgres" / "postmaster.pid").read_text().split()[0])
        self.groups = {
            "postgres": Group(pid),
            "redis": Group(self.redis.info("server")["process_id"]),
        }

    def prepare(self):
        """The same start for everyone: empty tables, an empty Redis, nothing left to write."""
        tables = self.value(_TABLES)
        self._database.execute(f"TRUNCATE {tables} RESTART IDENTITY")
        self.redis.flushall()
        self.checkpoint()

    def await_counts(self, seconds):
        """Until the reports' numbers hold all that is stored. LoadError."""
        deadline = time.monotonic() + seconds
        while seconds_behind(self._database):
            if time.monotonic() > deadline:
                raise LoadError(f"the reports' numbers are not whole after {seconds} s")
            time.sleep(0.05)

    def checkpoint(self):
        self._database.execute("CHECKPOINT")

    def rows(self, table):
        return self.value(f"SELECT count(*) FROM {table}")

    def value(self, query, *parameters):
        return self._database.execute(query, parameters).fetchone()[0]

    def bytes(self, table):
        """On disk, indexes included."""
        return int(self.value(_SIZE, table == "flat_events"))

    def close(self):
        self._database.close()
        self.redis.close()


@contextmanager
def running_servers(folder: Path):
    with postgres(folder / "postgres") as database_url, valkey(folder / "valkey") as redis_url:
        with connect(database_url, "bench") as connection:
            migrate.upgrade(connection)
            connection.execute((CONTENDERS / "flat_events.sql").read_text())
        servers = Servers(database_url, redis_url, folder)
        try:
            yield servers
        finally:
            servers.close()
