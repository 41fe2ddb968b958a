"""What all connections to Postgres have in common."""

import threading
import time
from contextlib import closing

import psycopg
import pytest
from psycopg_pool import PoolTimeout

from app.store import connections, writers
from app.store.connections import connect, report_pool, request_pool

pytestmark = pytest.mark.one_postgres  # no table is spread here


@pytest.fixture
def read_only(database, database_url):
    """As a primary is that became a standby."""
    name = psycopg.conninfo.conninfo_to_dict(database_url)["dbname"]
    database.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    yield database_url
    database.execute("SET default_transaction_read_only = off")
    database.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")


@pytest.mark.slow
def test_a_server_that_cannot_store_is_not_connected_to(read_only):
    with pytest.raises(psycopg.OperationalError, match="read-only"):
        connect(read_only, "tests")


@pytest.mark.parametrize("make", [request_pool, report_pool])
def test_a_pool_takes_no_connection_to_it_either(read_only, make):
    with make(read_only) as pool, pytest.raises(PoolTimeout), pool.connection(timeout=0.3):
        pass


def test_nothing_is_prepared_on_the_server_and_each_statement_commits_itself(database_url):
    with closing(connect(database_url, "tests")) as connection:
        for _ in range(20):
            connection.execute("SELECT %s::int", [1])
        assert connection.execute("SELECT count(*) FROM pg_prepared_statements").fetchone() == (0,)
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


def test_a_server_that_is_gone_without_a_word_is_noticed_within_a_minute(database_url):
    with closing(connect(database_url, "tests")) as connection:
        told = connection.info.get_parameters()
    idle, interval, count = (
        int(told[f"keepalives_{name}"]) for name in ("idle", "interval", "count")
    )
    assert 0 < idle + interval * count <= 60


def test_a_stored_number_is_read_as_one_in_a_body_is(database_url):
    with closing(connect(database_url, "tests")) as connection:
        read = connection.execute("SELECT '[18446744073709551616, 1, 1.5]'::jsonb").fetchone()[0]
    assert [type(number) for number in read] == [float, int, float]


def test_requests_share_few_connections_and_wait_for_one_only_a_moment(database_url):
    with request_pool(database_url) as pool:
        taken = [pool.getconn(timeout=10) for _ in range(connections.REQUEST_POOL_SIZE)]
        began = time.monotonic()
        with pytest.raises(PoolTimeout), pool.connection():
            pass
        assert 0.2 < time.monotonic() - began < 2
        for connection in taken:
            pool.putconn(connection)


def test_a_request_has_its_time_anew_with_each_connection_it_takes(database_url):
    with request_pool(database_url) as pool:
        with pool.connection(timeout=10) as connection:
            assert 0 < connection.deadline - time.monotonic() <= connections.REQUEST_TIME
        with pytest.raises(psycopg.OperationalError), pool.connection(timeout=10) as connection:
            connection.execute("SELECT pg_sleep(1)")
        with pool.connection(timeout=10) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize("name", ["web", "worker", "command"])
def test_whoever_writes_is_waited_for(database, database_url, name):
    with connect(database_url, name) as writing:
        writing.execute("BEGIN")
        waiting = threading.Thread(target=writers.wait_for_writers, args=[database])
        waiting.start()
        waiting.join(0.1)
        assert waiting.is_alive()
        writing.execute("COMMIT")
        waiting.join(5)
        assert not waiting.is_alive()


def test_whoever_begins_later_or_only_reads_is_not_waited_for(database, database_url):
    with connect(database_url, "reports") as reader, connect(database_url, "web") as idle:
        reader.execute("BEGIN")
        idle.execute("SELECT 1")
        writers.wait_for_writers(database)


def test_a_writer_that_does_not_end_is_not_waited_for_for_ever(database, database_url, monkeypatch):
    monkeypatch.setattr(writers, "_WRITERS_TIMEOUT", 0.05)
    with connect(database_url, "web") as writing:
        writing.execute("BEGIN")
        with pytest.raises(writers.WritersBusy):
            writers.wait_for_writers(database)


def test_the_pool_of_requests_is_waited_for_by_its_name(database, database_url):
    with request_pool(database_url) as pool, pool.connection(timeout=10) as connection:
        row = connection.execute("SHOW application_name").fetchone()
    assert row[0] in writers._NAMES
