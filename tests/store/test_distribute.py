"""Tables are spread over the nodes of a Citus by shop, and a plain Postgres is left as it is."""

import threading
from datetime import UTC, date, datetime, timedelta
from functools import partial

import pytest

from app.batch.batch import Batch, Context, Event
from app.counts import rollups
from app.counts.period import Period, find_shop
from app.merchant.reports import report
from app.store import figures, migrate
from app.store.connections import connect
from app.store.distribute import distribute, is_distributed
from app.store.partitions import create_partitions
from app.store.writer import Writer
from tests import citus
from tests.processes.running import flask

NOW = datetime.now(UTC)
SHOPS = [f"shop-{number}.myshopify.com" for number in range(8)]


def batch(shop, id_):
    events = [Event("widget:button_click", f"{id_}-{shop}", NOW, b"{}", b"{}")]
    columns = {"product_id": "1", "client_id": "550e8400-e29b-41d4-a716-446655440000"}
    return Batch.build(
        shop=shop, customer_id=None, received_at=NOW, context=Context(columns), events=events,
        rejected=[],
    )  # fmt: skip


def shown(connection):
    return connection.execute(
        "SELECT shop_domain, insert_id, event, client_id, properties, context FROM tracked_events"
        " ORDER BY 1, 2"
    ).fetchall()


def nodes_of(connection, table):
    """Of each shop the node with its rows."""
    rows = connection.execute(
        "SELECT id, nodeport FROM shops JOIN pg_dist_shard_placement"
        f" ON shardid = get_shard_id_for_distribution_column('{table}', id)"
    )
    return dict(rows.fetchall())


@pytest.mark.one_postgres
def test_a_plain_postgres_is_left_as_it_is(settings, database):
    result = flask(settings, "db", "distribute")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: This Postgres has no Citus, nothing is changed: ")
    assert result.stderr.count("\n") == 1
    assert not is_distributed(database)


@pytest.fixture(scope="module")
def url():
    with citus.database(with_schema=False) as url:
        yield url


@pytest.fixture(scope="module")
def filled(url):
    """What was stored before the tables were spread, and is after it."""
    with connect(url, "tests") as connection:
        migrate.upgrade(connection)
        create_partitions(connection, NOW.date())
        Writer(statement_timeout=60_000).write(connection, [batch(shop, "a") for shop in SHOPS])
        before, told = shown(connection), []
        tables = distribute(connection, told.append)
        assert told == tables
        yield connection, before, tables


@pytest.mark.citus
@pytest.mark.slow
def test_what_was_stored_before_is_there_afterwards_and_nothing_twice(filled):
    connection, before, _ = filled
    assert len(before) == len(SHOPS)
    again = Writer(statement_timeout=60_000)
    assert again.write(connection, [batch(shop, "a") for shop in SHOPS]) == 0
    assert shown(connection) == before
    [(left,)] = connection.execute("SELECT pg_relation_size('stored_batches')")
    assert left == 0  # on the coordinator


@pytest.mark.citus
def test_all_that_is_of_a_shop_lies_together(filled):
    connection, _, tables = filled
    assert {"events", "stored_batches", "contexts", "report_news", "report_values"} < set(tables)
    nodes = nodes_of(connection, "events")
    assert len(set(nodes.values())) == 2
    spread = [table for table in tables if table != "shops"]
    assert all(nodes_of(connection, table) == nodes for table in spread)


@pytest.mark.citus
def test_figures_are_of_all_nodes(filled):
    connection, *_ = filled
    [(alone,)] = connection.execute("SELECT pg_database_size(current_database())")
    assert figures.database_size(connection) > 2 * alone
    connection.execute("ANALYZE events")
    stored = connection.execute("SELECT count(*) FROM events").fetchone()[0]
    assert figures.stored_events(connection) == stored


@pytest.mark.citus
def test_a_second_time_changes_nothing(filled):
    connection, *_ = filled
    assert is_distributed(connection)
    assert distribute(connection, print) == []


@pytest.mark.citus
@pytest.mark.slow
def test_shops_and_numbers_that_are_made_afterwards_follow_those_before(filled):
    connection, *_ = filled
    new = [batch(f"new-{number}.myshopify.com", "b") for number in range(3)]
    assert Writer(statement_timeout=60_000).write(connection, new) == 3
    rows = connection.execute("SELECT id FROM shops ORDER BY id DESC LIMIT 4").fetchall()
    assert len(rows) == 4
    assert rows[2][0] > rows[3][0]


@pytest.mark.citus
@pytest.mark.slow
def test_what_is_written_while_it_is_counted_is_counted_once(filled, url):
    """By two that count, while shops are counted anew."""
    connection, *_ = filled
    ended = threading.Event()

    def write(name):
        writer = Writer(statement_timeout=60_000)
        with connect(url, "worker") as own:
            for number in range(40):
                writer.write(own, [batch(shop, f"{name}-{number}") for shop in SHOPS])

    def count():
        with connect(url, "worker") as own:
            while not ended.is_set():
                rollups.count_new(own)

    def recount():
        with connect(url, "worker") as own:
            while not ended.is_set():
                for shop in SHOPS:
                    rollups.mark_dirty(own, find_shop(own, shop).id)

    writers = [threading.Thread(target=write, args=[name]) for name in ("one", "two")]
    others = [threading.Thread(target=what) for what in (count, count, recount)]
    for thread in (*writers, *others):
        thread.start()
    for thread in writers:
        thread.join()
    ended.set()
    for thread in others:
        thread.join()
    while rollups.count_next(connection):  # what is marked by now would hide what was missed
        pass
    for shop in map(partial(find_shop, connection), SHOPS):
        period = Period(shop.today - timedelta(days=1), shop.today + timedelta(days=1))
        [(stored,)] = connection.execute(
            "SELECT count(*) FROM events WHERE shop_id = %s", [shop.id]
        )
        assert report(connection, shop, period, "product")["events"]["now"] == stored > 80


@pytest.mark.citus
@pytest.mark.slow
def test_a_later_migration_and_later_partitions_are_spread_too(filled, monkeypatch, tmp_path):
    connection, *_ = filled
    (tmp_path / "9000_later.sql").write_text(
        "ALTER TABLE report_news ADD COLUMN later integer NOT NULL DEFAULT 7;"
        "CREATE INDEX later ON report_news (later);"
        "CREATE TABLE report_later (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
        " shop_id integer NOT NULL);"
        "INSERT INTO report_later (shop_id) SELECT id FROM shops;"
        "ALTER TABLE events ADD COLUMN later text; -- of a text; in a view\n"
        "CREATE OR REPLACE VIEW named_events AS SELECT occurred_at, insert_key, batch_id,"
        " sent_timestamp, shop_id, coalesce(event, event_name(kind)) AS event, insert_id,"
        " properties, extra, kind, coalesce(later, ';') AS later FROM events"
    )
    with monkeypatch.context() as later:
        later.setattr(migrate, "_FOLDER", tmp_path)
        assert migrate.upgrade(connection) == ["9000_later"]
        assert distribute(connection, lambda table: None) == ["report_later"]
    assert nodes_of(connection, "report_later") == nodes_of(connection, "events")
    [(number,)] = connection.execute(
        "SELECT count(*) FROM report_later JOIN events USING (shop_id)"
    )
    assert number >= len(SHOPS)
    rows = connection.execute("SELECT DISTINCT event, later FROM named_events").fetchall()
    assert rows == [("widget:button_click", ";")]
    day = datetime(2035, 5, 5, tzinfo=UTC)
    connection.execute(
        "INSERT INTO events (shop_id, occurred_at, insert_key, batch_id, event)"
        " VALUES (1, %s, gen_random_uuid(), 1, 'a:b')",
        [day],
    )
    assert len(create_partitions(connection, date(2035, 5, 5))) == 5
    rows = connection.execute("SELECT occurred_at FROM events_2035_05").fetchall()
    assert rows == [(day,)]
    assert connection.execute("SELECT count(*) FROM events_default").fetchone() == (0,)
