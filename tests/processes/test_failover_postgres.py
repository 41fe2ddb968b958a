"""A primary of Postgres is killed under load and its standby promoted: real streaming replication,
web and worker as processes."""

import time
from contextlib import suppress
from datetime import UTC, datetime

import psycopg
import pytest

from app.store import migrate
from app.store.connections import connect
from app.store.partitions import create_partitions
from tests.campaigns.ledger import Ledger
from tests.postgres_servers import caught_up, primary_and_standby
from tests.processes.running import flask, wait_until
from tests.redis_servers import KEEPS, VALKEY, redis_server

pytestmark = pytest.mark.slow

BACK_WITHIN = 5.0  # s after the promotion
ROWS = "SELECT shop_domain, insert_id FROM tracked_events"


@pytest.fixture
def redis(tmp_path):
    """Of this test alone, on a port that no other run's worker has heard of."""
    with redis_server(VALKEY, tmp_path / "redis", **KEEPS) as client:
        yield client


@pytest.fixture
def servers():
    with primary_and_standby() as (primary, standby):
        with connect(primary.url, "tests") as connection:
            migrate.upgrade(connection)
            create_partitions(connection, datetime.now(UTC).date())
        wait_until(lambda: caught_up(primary, standby))
        yield primary, standby


def both(servers):
    return f"postgresql://postgres@{','.join(one.address for one in servers)}/postgres"


@pytest.mark.parametrize(
    ("harm", "intake", "is_synchronous"),
    [
        ("kill", "auto", False),
        ("kill", "auto", True),
        ("kill", "store", True),
        ("freeze", "auto", True),
    ],
)
def test_after_a_promotion_under_load_web_and_worker_go_on_at_the_new_primary(
    servers, start_web, start_worker, redis, intake, is_synchronous, harm, record_property
):
    primary, standby = servers
    if is_synchronous:
        with psycopg.connect(primary.url, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            connection.execute("SELECT pg_reload_conf()")
    web = start_web(DATABASE_URL=both(servers), REDIS_URL=redis.url, INTAKE=intake)
    start_worker(DATABASE_URL=both(servers), REDIS_URL=redis.url)
    ledger = Ledger(web.port, seed=7)
    ledger.start(4)
    time.sleep(3)
    getattr(primary, harm)()
    standby.promote()
    promoted = time.monotonic()
    with psycopg.connect(standby.url, autocommit=True) as connection:
        before = connection.execute("SELECT count(*) FROM events").fetchone()[0]
        wait_until(lambda: connection.execute("SELECT count(*) FROM events").fetchone()[0] > before)
        back = time.monotonic() - promoted
        time.sleep(2)
        ledger.stop()
        with suppress(AssertionError):  # what is lost never comes
            wait_until(lambda: ledger.acknowledged <= {*connection.execute(ROWS)}, 15)
        report = ledger.report(connection.execute(ROWS).fetchall()) | {
            "back": round(back, 1),
            "waiting": redis.xlen("{t0}:stream"),
        }
    record_property("report", report)
    print(report)  # noqa: T201
    assert report["acknowledged"] > 200, report
    assert (report["twice"], report["strangers"]) == (0, 0), report
    assert {*report["replies"]} == {"200 success"}, report
    assert back < BACK_WITHIN, report
    # What was committed and not streamed is lost, unless the primary waits for its standby.
    assert report["lost"] <= (0 if is_synchronous else 500), report


def test_a_primary_that_is_set_to_read_only_is_left(servers, start_web, settings):
    """As providers do before they move a database."""
    primary, standby = servers
    web = start_web(DATABASE_URL=both(servers), INTAKE="store", WEB_CONCURRENCY="1")
    ledger = Ledger(web.port, seed=7)
    assert ledger.send("a-shop.myshopify.com", ["before"])
    with psycopg.connect(primary.url, autocommit=True) as connection:
        wait_until(lambda: caught_up(primary, standby))
        connection.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        connection.execute("SELECT pg_reload_conf()")
    standby.promote()
    assert ledger.send("a-shop.myshopify.com", ["after"])
    with psycopg.connect(standby.url, autocommit=True) as connection:
        wait_until(lambda: len(connection.execute(ROWS).fetchall()) == 2)
    told = flask(settings, "check", DATABASE_URL=both(servers)).stdout
    assert f"{primary.address} is read-only" in told
    assert f"{standby.address} is the primary" in told
