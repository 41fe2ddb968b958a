"""The PostgreSQL and the Valkey that all contenders share, and what they use."""

from contextlib import contextmanager
from pathlib import Path

import psycopg
from redis import Redis

from app.dev.servers import postgres, valkey
from app.store import migrate
from app.store.connections import connect
from tests.bench.processes import CONTENDERS, Group

_SIZE = """
SELECT sum(pg_total_relation_size(oid)) FROM pg_class
WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace
AND (relname = 'flat_events') = %s AND relname ~ '^(flat_)?(events|batches)'
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
        self._database.execute("TRUNCATE flat_events, batches, events, shops RESTART IDENTITY")
        self.redis.flushall()
        self.checkpoint()

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
