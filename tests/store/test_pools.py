"""What each pool holds of a plan's few connections, and for how long anybody waits for one."""

import time
from contextlib import closing
from functools import partial

import psycopg
import pytest
from psycopg_pool import PoolTimeout

from app.store.connections import BoundedConnection, connect, report_pool, request_pool, roles

NOWHERE = "postgresql://127.0.0.1:1/nowhere"


def made(pool):
    told = (pool.min_size, pool.max_size, pool.timeout, pool.max_waiting, pool.reconnect_timeout)
    return pool.name, told, pool.max_idle, pool.closed


def test_each_pool_is_small_and_nobody_waits_long():
    """20 connections are all that small plans have: five a process of the web."""
    assert made(request_pool(NOWHERE)) == ("store", (1, 3, 0.25, 32, 2), 600, True)
    assert made(report_pool(NOWHERE)) == ("reports", (0, 2, 5.0, 32, 2), 60, True)
    replica = report_pool(NOWHERE, for_reading=True)
    assert made(replica) == ("replica", (0, 2, 1.0, 32, 2), 60, True)


@pytest.mark.parametrize(
    ("make", "name"), [(request_pool, "genlook web"), (report_pool, "genlook reports")]
)
def test_each_says_who_it_is(database_url, make, name):
    with make(database_url) as pool, pool.connection(timeout=10) as connection:
        assert connection.execute("SELECT current_setting('application_name')").fetchone() == (
            name,
        )


@pytest.mark.parametrize(
    "make", [request_pool, report_pool, partial(report_pool, for_reading=True)]
)
def test_nobody_is_given_a_connection_that_was_lost_in_the_pool(database, database_url, make):
    with make(database_url) as pool:
        with pool.connection(timeout=10) as connection:
            pid = connection.info.backend_pid
        database.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        with pool.connection(timeout=10) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_pool_that_has_nothing_is_given_up_within_its_time():
    with request_pool(NOWHERE) as pool:
        began = time.monotonic()
        with pytest.raises(PoolTimeout), pool.connection():
            pass
        assert 0.2 < time.monotonic() - began < 1


def test_what_a_connection_is_told_of_time(database_url):
    with closing(connect(database_url, "tests")) as connection:
        told = connection.info.get_parameters()
        assert connection.autocommit
    names = ("connect_timeout", "keepalives_idle", "keepalives_interval", "keepalives_count",
             "tcp_user_timeout", "target_session_attrs", "application_name")  # fmt: skip
    assert [told.get(name) for name in names] == [
        "2", "30", "10", "3", "5000", "read-write", "genlook tests"
    ]  # fmt: skip
    with closing(connect(database_url, "tests", for_reading=True)) as connection:
        told = connection.info.get_parameters()
    assert told.get("target_session_attrs") in (None, "any")


def test_a_connection_has_no_deadline_until_a_request_takes_it(database_url):
    with closing(connect(database_url, "tests")) as connection:
        assert connection.deadline is None
    with request_pool(database_url) as pool:
        with pool.connection(timeout=10) as connection:
            assert connection.deadline
        connection = pool.getconn(timeout=10)
        pool.putconn(connection)
        assert isinstance(connection, BoundedConnection)
        deadline = time.monotonic() + 5
        while connection.deadline is not None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert connection.deadline is None


def test_a_deadline_ends_a_statement_and_its_connection(database_url):
    with closing(connect(database_url, "tests")) as connection:
        connection.deadline = time.monotonic() + 0.2
        began = time.monotonic()
        with pytest.raises(psycopg.OperationalError, match="did not answer in time"):
            connection.execute("SELECT pg_sleep(5)")
        assert 0.15 < time.monotonic() - began < 1.5
        assert connection.closed


@pytest.mark.parametrize(
    ("address", "names"),
    [
        ("host=127.0.0.1 dbname=x", ["127.0.0.1:5432"]),
        ("host=127.0.0.1,::1 port=1 dbname=x", ["127.0.0.1:1", "::1:1"]),
        ("host=127.0.0.1,127.0.0.1 port=1,2 dbname=x", ["127.0.0.1:1", "127.0.0.1:2"]),
        ("host=127.0.0.1,127.0.0.1 port=,2 dbname=x", ["127.0.0.1:5432", "127.0.0.1:2"]),
    ],
)
def test_of_each_server_of_an_address_it_is_told_what_it_is(address, names):
    found = list(roles(address))
    assert [name for name, _ in found] == names
    assert all(role.startswith("does not answer: OperationalError") for _, role in found)


def test_a_primary_and_one_that_takes_no_writes_are_told_apart(database, database_url):
    name = psycopg.conninfo.conninfo_to_dict(database_url)["dbname"]
    assert [role for _, role in roles(database_url)] == ["is the primary"]
    database.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    try:
        assert [role for _, role in roles(database_url)] == ["is read-only"]
    finally:
        database.execute("SET default_transaction_read_only = off")
        database.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")


@pytest.mark.parametrize(
    ("make", "is_left"),
    [
        (request_pool, True),
        (report_pool, True),
        (lambda url: report_pool(url, for_reading=True), False),
    ],
)
def test_a_server_that_takes_no_writes_any_more_is_left_where_one_writes(
    database_url, make, is_left
):
    def pid(connection):
        return connection.info.backend_pid

    with make(database_url) as pool:
        with pool.connection(timeout=10) as connection:
            before = pid(connection)
            connection.execute("SET default_transaction_read_only = on")
        with pool.connection(timeout=10) as connection:
            assert (pid(connection) != before) == is_left
