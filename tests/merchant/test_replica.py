"""What merchants read comes from a replica: real streaming replication."""

import time
from contextlib import closing
from datetime import UTC, datetime

import psycopg
import pytest

from app.merchant.database import Database
from app.store import migrate
from app.store.connections import connect
from app.store.figures import seconds_behind_primary
from app.store.partitions import create_partitions
from tests.calls import SHOP
from tests.counts.histories import FUNNEL, batch, count_all, store
from tests.merchant.conftest import KEY, token
from tests.postgres_servers import caught_up, primary_and_standby
from tests.processes.running import flask, wait_until

pytestmark = pytest.mark.slow

IS_REPLICA = "SELECT pg_is_in_recovery()"


@pytest.fixture(scope="module")
def servers():
    # A conflict is told at once, and not after the 30 s for which a standby waits by default.
    with primary_and_standby(max_standby_streaming_delay="0") as (primary, standby):
        with connect(primary.url, "tests") as connection:
            migrate.upgrade(connection)
            create_partitions(connection, datetime.now(UTC).date())
        wait_until(lambda: caught_up(primary, standby))
        yield primary, standby


@pytest.fixture
def reports(servers):
    primary, standby = servers
    with closing(Database(primary.url, standby.url)) as reports:
        yield reports


@pytest.fixture
def primary(servers):
    with connect(servers[0].url, "tests") as connection:
        yield connection


def is_replica(connection):
    return connection.execute(IS_REPLICA).fetchone()[0]


def test_what_is_read_comes_from_the_replica_and_what_is_written_goes_to_the_primary(reports):
    assert reports.read(is_replica)
    with reports.exporting("a", is_replica) as was_replica:
        assert was_replica
    with reports.writing() as connection:
        assert not is_replica(connection)


def test_without_a_replica_everything_is_read_from_the_primary(servers):
    with closing(Database(servers[0].url)) as reports:
        assert not reports.read(is_replica)


def conflicting(primary, standby):
    """Reads a table; the first time, the primary drops what it reads meanwhile."""
    asked = []

    def use(connection):
        asked.append(is_replica(connection))
        connection.execute("SELECT count(*) FROM dropped")
        if len(asked) == 1:
            primary.execute("DROP TABLE dropped")
            primary.execute("CREATE TABLE dropped AS SELECT 1 AS one")
            time.sleep(1)
        return connection.execute("SELECT count(*) FROM dropped").fetchone()[0]

    primary.execute("DROP TABLE IF EXISTS dropped")
    primary.execute("CREATE TABLE dropped (one int)")
    wait_until(lambda: caught_up(*standby))
    return asked, use


@pytest.mark.parametrize("way", ["page", "export"])
def test_what_conflicts_with_the_recovery_is_read_from_the_primary(servers, reports, primary, way):
    asked, use = conflicting(primary, servers)
    if way == "page":
        assert reports.read(use) == 1
    else:
        with reports.exporting("a", use) as found:
            assert found == 1
    assert asked == [True, False]


def test_a_replica_that_is_away_is_done_without(servers):
    nowhere = "postgresql://postgres@127.0.0.1:1/postgres"
    with closing(Database(servers[0].url, nowhere)) as reports:
        assert not reports.read(is_replica)
        with reports.exporting("a", is_replica) as was_replica:
            assert not was_replica


def test_what_takes_too_long_is_not_begun_again_on_the_primary(reports, monkeypatch):
    monkeypatch.setattr("app.merchant.database.READ_TIMEOUT", 50)
    asked = []

    def use(connection):
        asked.append(is_replica(connection))
        connection.execute("SELECT pg_sleep(5)")

    with pytest.raises(psycopg.errors.QueryCanceled):
        reports.read(use)
    assert asked == [True]


def test_a_replica_that_stands_still_says_how_far_it_is_behind(servers, primary):
    with connect(servers[1].url, "tests", for_reading=True) as standby:
        wait_until(lambda: caught_up(*servers))
        assert seconds_behind_primary(standby) == seconds_behind_primary(primary) == 0
        standby.execute("SELECT pg_wal_replay_pause()")
        try:
            primary.execute("CREATE TABLE later (one int)")
            time.sleep(1.5)
            assert 1 < seconds_behind_primary(standby) < 60
        finally:
            standby.execute("SELECT pg_wal_replay_resume()")
        wait_until(lambda: seconds_behind_primary(standby) == 0)


@pytest.fixture
def merchant(calling, servers):
    caller = calling(
        database_url=servers[0].url, reports_database_url=servers[1].url, shopify_api_key=KEY
    )

    def get(path, **query):
        headers = {"Authorization": f"Bearer {token()}"}
        return caller._client.get(path, query_string=query, headers=headers)

    return get


def test_page_api_and_exports_are_read_from_the_replica(servers, primary, merchant):
    assert merchant("/app").status_code == 200  # marks the shop as installed, on the primary
    assert primary.execute("SELECT count(*) FROM shops WHERE domain = %s", [SHOP]).fetchone() == (
        1,
    )
    wait_until(lambda: caught_up(*servers))
    with connect(servers[1].url, "tests", for_reading=True) as standby:
        standby.execute("SELECT pg_wal_replay_pause()")
        try:
            moment = datetime.now(UTC)
            store(primary, batch("a", (FUNNEL[0], moment)))
            count_all(primary)
            time.sleep(1.5)
            for _ in range(2):
                shown = merchant("/app/api/report", range="7").get_json()
                assert shown["report"]["visitors"]["now"] == 0
                assert datetime.fromisoformat(shown["freshness"]["until"]) < moment
            assert merchant("/app/api/events", range="7", format="ndjson").text == ""
        finally:
            standby.execute("SELECT pg_wal_replay_resume()")
    wait_until(lambda: caught_up(*servers))
    assert merchant("/app/api/report", range="7").get_json()["report"]["visitors"]["now"] == 1
    assert "a" in merchant("/app/api/events", range="7", format="ndjson").text


def test_the_page_is_there_while_the_primary_is_away(servers, merchant):
    assert merchant("/app").status_code == 200
    wait_until(lambda: caught_up(*servers))
    servers[0].freeze()
    try:
        assert merchant("/app").status_code == 200
    finally:
        servers[0].go_on()


def test_the_terminal_reads_from_the_replica_too(servers, merchant, settings):
    merchant("/app")
    wait_until(lambda: caught_up(*servers))
    env = {"DATABASE_URL": servers[0].url, "REPORTS_DATABASE_URL": servers[1].url}
    servers[0].freeze()
    try:
        shown = flask(settings, "report", "funnel", "--shop", SHOP, **env)
    finally:
        servers[0].go_on()
    assert shown.returncode == 0, shown.stderr
    assert "Product page viewed" in shown.stdout
