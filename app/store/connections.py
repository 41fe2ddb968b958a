"""Connections to Postgres, all made alike."""

from typing import Any

from psycopg import Connection
from psycopg_pool import ConnectionPool

REQUEST_POOL_TIMEOUT = 0.25  # s a request waits for a connection
REQUEST_STATEMENT_TIMEOUT = 2_000  # ms
WORKER_STATEMENT_TIMEOUT = 60_000  # ms

_OPTIONS: dict[str, Any] = {
    "autocommit": True,
    "prepare_threshold": None,  # PgBouncer in transaction mode
    "connect_timeout": 2,  # s, the least that libpq takes
    "keepalives_idle": 30,  # s; a server that is gone without a word is noticed within a minute
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "target_session_attrs": "read-write",  # a demoted primary answers, but cannot store
}


def connect(database_url: str, name: str) -> Connection:
    """One connection; `name` is what pg_stat_activity shows."""
    return Connection.connect(database_url, application_name=f"genlook {name}", **_OPTIONS)


def request_pool(database_url: str) -> ConnectionPool:
    """Few connections (small plans allow 20 in all), none before the first use after the fork."""
    return ConnectionPool(
        database_url,
        kwargs=_OPTIONS | {"application_name": "genlook web"},
        min_size=1,
        max_size=3,
        max_waiting=32,
        timeout=REQUEST_POOL_TIMEOUT,
        reconnect_timeout=10,
        check=ConnectionPool.check_connection,
        open=False,
        name="store",
    )
