"""Connections to Postgres, all made alike."""

import time
from collections.abc import Iterator
from typing import Any, TypeVar

import orjson
from psycopg import Connection, OperationalError
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.json import set_json_loads
from psycopg_pool import ConnectionPool

from config.causes import cause

# As the bodies are read: an integer beyond 64 bits is a double, and can be written again.
set_json_loads(orjson.loads)

REQUEST_POOL_SIZE = 3  # connections of each web process
REPORT_POOL_SIZE = 2
# Three for storing, reporting, recounting, housekeeping. Each further node of a cluster takes one.
WORKER_CONNECTIONS = 6
REQUEST_POOL_TIMEOUT = 0.25  # s a request waits for a connection
REQUEST_TIME = 0.6  # s a request may use the connection, in all
REQUEST_STATEMENT_TIMEOUT = 2_000  # ms; ends on the server what no request waits for
WORKER_STATEMENT_TIMEOUT = 60_000  # ms
# s for a transaction, where the server does not keep its own limit: at first, and at most.
WORKER_FIRST_TIME, WORKER_TIME = 2.0, 65.0

_T = TypeVar("_T")

_READING: dict[str, Any] = {
    "autocommit": True,
    "prepare_threshold": None,  # PgBouncer in transaction mode
    "connect_timeout": 2,  # s, the least that libpq takes; for each of several addresses
    "keepalives_idle": 30,  # s; a server that is gone without a word is noticed within a minute
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 5_000,  # ms; the same where something was sent to it
}
# A demoted primary answers, but cannot store. Of several addresses, the one that can.
_OPTIONS = _READING | {"target_session_attrs": "read-write"}
# What a server reports when they change: it was demoted, or is to be.
_READ_ONLY = ("default_transaction_read_only", "in_hot_standby")


class BoundedConnection(Connection[Any]):
    """A connection whose user has a limited time: a server that takes a statement and never answers
    does not hold up a request. (`statement_timeout` is kept by the server, and a server that hangs
    keeps nothing.)"""

    deadline: float | None = None  # monotonic; None: no limit

    def wait(self, gen: PQGen[_T], interval: float = 0.1, timeout: float | None = None) -> _T:
        if self.deadline is None or timeout is not None:
            return super().wait(gen, interval, timeout)
        # psycopg resumes `gen` once per interval even where nothing has come.
        remaining = max(0.001, self.deadline - time.monotonic())
        return super().wait(self._until_deadline(gen, self.deadline), min(interval, remaining))

    def _until_deadline(self, gen: PQGen[_T], deadline: float) -> PQGen[_T]:
        """`gen`, ended at the first turn after the deadline that does not complete it."""
        try:
            awaited = next(gen)
            while True:
                awaited = gen.send((yield awaited))
                if time.monotonic() >= deadline:
                    self.close()  # in the middle of a statement nothing else can be done with it
                    raise OperationalError("the server did not answer in time")
        except StopIteration as end:
            result: _T = end.value
            return result


def _check(connection: BoundedConnection) -> None:
    """Before a request gets a connection from the pool: the request's time begins, the connection
    must be alive."""
    connection.deadline = time.monotonic() + REQUEST_TIME
    _check_primary(connection)


def _check_primary(connection: Connection) -> None:
    ConnectionPool.check_connection(connection)
    if any(connection.info.parameter_status(name) == "on" for name in _READ_ONLY):
        connection.close()  # else the pool would keep it
        raise OperationalError("the server takes no writes any more")


def _reset(connection: BoundedConnection) -> None:
    connection.deadline = None


def connect(database_url: str, name: str, *, for_reading: bool = False) -> BoundedConnection:
    """One connection; `name` is what pg_stat_activity shows. It may be to a replica where it is for
    reading."""
    options = _READING if for_reading else _OPTIONS
    return BoundedConnection.connect(database_url, application_name=f"genlook {name}", **options)


def roles(database_url: str) -> Iterator[tuple[str, str]]:
    """Of each of the address's servers, as host:port, what it is."""
    told = conninfo_to_dict(database_url)
    hosts = str(told.pop("host", "")).split(",")
    ports = str(told.pop("port", "5432")).split(",")
    told.pop("hostaddr", None)
    for number, host in enumerate(hosts):
        port = (ports[number] if len(ports) > 1 else ports[0]) or "5432"
        one = make_conninfo("", **told, host=host, port=port, target_session_attrs="any")
        try:
            with connect(one, "check", for_reading=True) as connection:
                role = _role(connection)
        except OperationalError as error:
            role = f"does not answer: {cause(error)}"
        yield f"{host}:{port}", role


def _role(connection: Connection) -> str:
    [(is_standby, is_read_only)] = connection.execute(
        "SELECT pg_is_in_recovery(), current_setting('transaction_read_only') = 'on'"
    )
    return "is a standby" if is_standby else "is read-only" if is_read_only else "is the primary"


def request_pool(database_url: str) -> ConnectionPool[BoundedConnection]:
    """Few connections (small plans allow 20 in all), none before the first use after the fork."""
    return ConnectionPool(
        database_url,
        kwargs=_OPTIONS | {"application_name": "genlook web"},
        min_size=1,
        max_size=REQUEST_POOL_SIZE,
        max_waiting=32,
        timeout=REQUEST_POOL_TIMEOUT,
        reconnect_timeout=2,  # s; then the next request has it tried again at once
        connection_class=BoundedConnection,
        check=_check,
        reset=_reset,
        open=False,
        name="store",
    )


def report_pool(database_url: str, *, for_reading: bool = False) -> ConnectionPool[Connection]:
    """For what merchants read; no connection is held while none of them looks. To a replica too
    where it is for reading: then nobody waits long for one, the primary can be read as well."""
    options = _READING if for_reading else _OPTIONS
    return ConnectionPool(
        database_url,
        kwargs=options | {"application_name": "genlook reports"},
        min_size=0,
        max_size=REPORT_POOL_SIZE,
        max_waiting=32,
        timeout=1.0 if for_reading else 5.0,
        reconnect_timeout=2,
        max_idle=60,
        check=ConnectionPool.check_connection if for_reading else _check_primary,
        open=False,
        name="replica" if for_reading else "reports",
    )
