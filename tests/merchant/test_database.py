"""The reports' connections."""

import threading
from contextlib import closing, suppress

import psycopg
import pytest

from app.merchant import database as module
from app.merchant.database import Busy, Database
from tests.calls import SHOP


@pytest.fixture
def reports(database_url):
    with closing(Database(database_url)) as reports:
        yield reports


def shops(connection):
    return connection.execute("SELECT count(*) FROM shops").fetchone()[0]


def add_shop(connection, domain=SHOP):
    connection.execute("INSERT INTO shops (domain) VALUES (%s)", [domain])


def writing(reports, use):
    with reports.writing() as connection:
        return use(connection)


def exporting(reports, use):
    with reports.exporting(SHOP, use) as found:
        return found


@pytest.mark.parametrize("way", [Database.read, writing])
def test_what_takes_too_long_is_ended_and_the_connection_used_again(reports, monkeypatch, way):
    monkeypatch.setattr(module, "READ_TIMEOUT", 50)
    with pytest.raises(psycopg.errors.QueryCanceled):
        way(reports, lambda connection: connection.execute("SELECT pg_sleep(5)"))
    assert way(reports, shops) == 0


@pytest.mark.parametrize("way", [Database.read, exporting])
def test_all_that_is_read_is_of_one_moment_and_nothing_is_written(reports, database, way):
    def use(connection):
        assert shops(connection) == 0
        add_shop(database)
        assert shops(connection) == 0
        add_shop(connection, "b.myshopify.com")

    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        way(reports, use)
    assert shops(database) == 1


def test_what_is_written_is_all_there_or_not_at_all(reports, database):
    with reports.writing() as connection:
        add_shop(connection)
    with suppress(ZeroDivisionError), reports.writing() as connection:
        add_shop(connection, "b.myshopify.com")
        raise ZeroDivisionError
    assert shops(database) == 1


def test_one_export_of_a_shop_runs_at_a_time_and_its_next_waits_a_moment(reports, monkeypatch):
    monkeypatch.setattr(module, "_EXPORT_WAIT", 0.05)
    is_busy = pytest.raises(Busy)
    with reports.exporting(SHOP, shops), is_busy, reports.exporting(SHOP, shops):
        pass
    monkeypatch.setattr(module, "_EXPORT_WAIT", 5)
    ended = []

    def second():
        with reports.exporting(SHOP, shops):
            ended.append(True)

    with suppress(ZeroDivisionError), reports.exporting(SHOP, shops):
        thread = threading.Thread(target=second)
        thread.start()
        raise ZeroDivisionError
    thread.join(5)
    assert ended


def test_other_shops_export_meanwhile_but_not_any_number_of_them(reports, monkeypatch):
    monkeypatch.setattr(module, "_EXPORT_WAIT", 0.05)
    monkeypatch.setattr(module, "_EXPORTS", 2)
    two = reports.exporting("a", shops), reports.exporting("b", shops)
    with two[0], two[1], pytest.raises(Busy), reports.exporting("c", shops):
        pass
    with reports.exporting("c", shops) as found:
        assert found == 0


def test_an_export_has_no_limit_of_time(reports):
    def limit(connection):
        return connection.execute("SHOW statement_timeout").fetchone()

    with reports.exporting(SHOP, limit) as found:
        assert found == ("0",)
