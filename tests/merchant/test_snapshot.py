"""How a report is read: one snapshot, nothing written, and no longer than a merchant waits."""

import time
from contextlib import closing

import psycopg
import pytest

from app.merchant.database import Busy, Database

SETTINGS = ("transaction_isolation", "transaction_read_only", "statement_timeout",
            "max_parallel_workers_per_gather", "jit", "random_page_cost",
            "application_name")  # fmt: skip


@pytest.fixture
def reports(database_url):
    with closing(Database(database_url)) as reports:
        yield reports


def shown(connection):
    return [connection.execute(f"SHOW {name}").fetchone()[0] for name in SETTINGS]


def test_a_report_is_one_snapshot_that_writes_nothing(reports):
    assert reports.read(shown) == [
        "repeatable read", "on", "20s", "0", "off", "1.1", "genlook reports"
    ]  # fmt: skip


def test_what_is_written_has_the_same_time(reports, database):
    with reports.writing() as connection:
        assert shown(connection)[:3] == ["read committed", "off", "20s"]
        connection.execute("INSERT INTO shops (domain) VALUES ('a')")
        assert database.execute("SELECT count(*) FROM shops").fetchone() == (0,)
    assert database.execute("SELECT count(*) FROM shops").fetchone() == (1,)
    both = "INSERT INTO shops (domain) VALUES ('b'); SELECT 1 / 0"
    with pytest.raises(psycopg.errors.DivisionByZero), reports.writing() as connection:
        connection.execute(both)
    assert database.execute("SELECT count(*) FROM shops").fetchone() == (1,)


def test_an_export_is_a_snapshot_too_and_has_no_limit_of_time(reports):
    with reports.exporting("a", lambda connection: (connection, shown(connection))) as found:
        connection, told = found
        assert told[:3] == ["repeatable read", "on", "0"]
        assert told[-1] == "genlook export"
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            connection.execute("INSERT INTO shops (domain) VALUES ('a')")
    assert connection.closed


@pytest.mark.slow
def test_four_shops_export_at_once_and_each_shop_once(reports):
    def use(connection):
        return True

    with reports.exporting("a", use), reports.exporting("b", use), reports.exporting("c", use):
        began = time.monotonic()
        with pytest.raises(Busy), reports.exporting("a", use):
            pass
        assert 1.9 < time.monotonic() - began < 3
        with reports.exporting("d", use), pytest.raises(Busy), reports.exporting("e", use):
            pass
        with reports.exporting("e", use):
            pass
    with reports.exporting("a", use):
        pass


def test_an_export_that_fails_lets_the_next_one_begin(reports):
    with pytest.raises(ZeroDivisionError), reports.exporting("a", lambda _: 1 // 0):
        pass
    with reports.exporting("a", lambda _: True) as found:
        assert found
