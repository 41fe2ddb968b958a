"""What is done to the tables before they are spread, and the statements that run afterwards, on a
Postgres that only notes what a Citus would have been asked for. On a real one: test_distribute.py,
where there is one."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import psycopg
import pytest

from app.store import figures, migrate, partitions, shops, walks
from app.store.batches import delete_batches
from app.store.connections import connect
from app.store.distribute import NotPossible, distribute, is_distributed
from app.store.partitions import create_partitions
from app.store.unused_contexts import delete_unused
from app.store.user_agents import remove_user_agents
from tests.conftest import _database
from tests.counts.histories import batch, store
from tests.processes.running import flask

pytestmark = pytest.mark.one_postgres

NOW = datetime.now(UTC)
STAND_IN = """
    SET allow_system_table_mods = on;
    CREATE TABLE public.asked (number serial, what text, of text, beside text);
    CREATE TABLE pg_catalog.pg_dist_partition (logicalrelid regclass, partmethod "char");
    CREATE FUNCTION pg_catalog.citus_version() RETURNS text LANGUAGE sql AS $$ SELECT '13' $$;
    CREATE TABLE public.workers (name text);
    CREATE FUNCTION citus_get_active_worker_nodes() RETURNS SETOF text LANGUAGE sql
        AS $$ SELECT name FROM public.workers $$;
    CREATE FUNCTION create_reference_table(of text) RETURNS void LANGUAGE sql AS $$
        INSERT INTO public.asked (what, of) VALUES ('reference', of);
        INSERT INTO pg_dist_partition VALUES (of::regclass, 'n') $$;
    CREATE FUNCTION create_distributed_table(of text, by text, colocate_with text) RETURNS void
        LANGUAGE sql AS $$
        INSERT INTO public.asked (what, of, beside) VALUES (by, of, colocate_with);
        INSERT INTO pg_dist_partition VALUES (of::regclass, 'h') $$;
    CREATE FUNCTION truncate_local_data_after_distributing_table(of text) RETURNS void
        LANGUAGE sql AS $$ INSERT INTO public.asked (what, of) VALUES ('free', of) $$;
    CREATE FUNCTION run_command_on_all_nodes(command text)
        RETURNS TABLE (success boolean, result text) LANGUAGE plpgsql AS $$ BEGIN
        FOR _ IN 1..2 LOOP
            success := true; EXECUTE command INTO result; RETURN NEXT;
        END LOOP;
        success := false; result := 'away'; RETURN NEXT; END $$;
"""


@pytest.fixture(scope="module")
def url(postgres_url, template):
    yield from _database(postgres_url, template)


@pytest.fixture(scope="module")
def spread(url):
    """The connection, what was told, and what was asked for; a shop's rows are from before."""
    with connect(url, "tests") as connection:
        connection.execute(STAND_IN)
        store(connection, batch("a", ("a:b", NOW), product_id="p1"))
        _refused(connection)
        connection.execute("INSERT INTO workers VALUES ('one')")
        told = []
        assert distribute(connection, told.append) == told
        asked = connection.execute("SELECT what, of, beside FROM asked ORDER BY number").fetchall()
        yield connection, told, asked


def _refused(connection):
    """And nothing is changed."""
    assert not is_distributed(connection)
    with pytest.raises(NotPossible, match="has no workers"):
        distribute(connection, print)
    connection.execute("INSERT INTO workers VALUES ('one')")
    connection.execute("UPDATE schema_migrations SET number = number + 1000 WHERE number = 45")
    with pytest.raises(NotPossible, match="Migrations are missing"):
        distribute(connection, print)
    connection.execute("UPDATE schema_migrations SET number = number - 1000 WHERE number > 1000")

    def fail(table):
        if table == "report_values":
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        distribute(connection, fail)
    assert connection.execute("SELECT count(*) FROM asked").fetchone() == (0,)
    connection.execute("DELETE FROM workers; ALTER SEQUENCE asked_number_seq RESTART")


def test_shops_come_first_and_then_the_events_by_which_all_others_are_placed(spread):
    connection, told, asked = spread
    assert told[:2] == ["shops", "events"]
    assert told[2:] == sorted(told[2:])
    of_shops = {
        name
        for (name,) in connection.execute(
            "SELECT table_name FROM information_schema.columns JOIN information_schema.tables"
            " USING (table_schema, table_name) WHERE column_name = 'shop_id'"
            " AND table_type = 'BASE TABLE' AND table_name !~ '^events_'"
        )
    }
    kept = {"report_dirty", "report_cells", "report_journeys"}
    assert set(told[1:]) == of_shops - kept
    assert asked[0] == ("reference", "shops", None)
    assert asked[1] == ("shop_id", "events", "none")
    assert asked[2 : len(told)] == [("shop_id", name, "events") for name in told[2:]]
    assert asked[len(told) :] == [("free", name, None) for name in sorted(told)]


def test_a_second_time_nothing_is_spread(spread):
    connection, _, asked = spread
    assert is_distributed(connection)
    assert distribute(connection, print) == []
    assert connection.execute("SELECT count(*) FROM asked").fetchone() == (len(asked),)


@pytest.mark.slow
def test_the_command_says_that_nothing_is_left_to_spread(spread, url, settings):
    told = flask(replace(settings, database_url=url), "db", "distribute")
    assert (told.returncode, told.stdout) == (0, "All tables are spread already.\n")


def test_each_key_has_the_shop_and_no_trigger_is_left(spread):
    connection, told, _ = spread
    for table in told[1:]:
        key = walks._key(connection, table)
        assert not key or key[0] == "shop_id", table
    assert set(walks._key(connection, "report_values")) == {"shop_id", "id"}
    triggers = connection.execute(
        "SELECT tgrelid::regclass::text FROM pg_trigger WHERE NOT tgisinternal"
        " AND tgrelid::regclass::text = ANY(%s)",
        [told],
    )
    assert triggers.fetchall() == []


def test_numbers_go_on_where_they_were(spread):
    connection, *_ = spread
    rows = connection.execute(
        "SELECT table_name, column_name FROM information_schema.columns"
        " WHERE is_identity = 'YES' AND data_type = 'integer' AND table_name <> 'asked'"
    ).fetchall()
    assert rows == []
    before = connection.execute("SELECT max(id) FROM shops").fetchone()[0]
    assert shops.mark_installed(connection, "new.myshopify.com", NOW)
    assert shops.find_id(connection, "new.myshopify.com") == before + 1
    [(first,)] = connection.execute("SELECT nextval('report_values_id_numbers')")
    begins = connection.execute(
        "SELECT seqmin FROM pg_sequence WHERE seqrelid = 'report_values_id_numbers'::regclass"
    ).fetchone()
    assert (first,) == begins
    assert first > 1  # the lower ones stand for something


def test_a_step_is_found_by_the_key(spread, monkeypatch):
    connection, *_ = spread
    monkeypatch.setattr(walks, "STEP_ROWS", 2)
    for number in range(5):
        store(connection, batch("a", ("a:b", NOW), shop="step.myshopify.com", browser=f"{number}"))
    store(connection, batch("a", ("a:b", NOW), shop="other.myshopify.com"))
    shop_id = shops.find_id(connection, "step.myshopify.com")
    before = connection.execute("SELECT count(*) FROM stored_batches").fetchone()[0]
    steps = []
    assert (
        walks.delete_in_steps(
            connection, "stored_batches", "id > %(after)s", {"after": 0}, steps.append,
            shop_id=shop_id,
        )
        == 5
    )  # fmt: skip
    assert steps == [2, 2, 1]
    assert connection.execute("SELECT count(*) FROM stored_batches").fetchone() == (before - 5,)
    gone = []
    for _ in range(3):
        connection.execute(
            "INSERT INTO rejected_events (reject_key, shop_domain, received_at, code, details,"
            " payload, context) VALUES (gen_random_uuid(), 'a', now(), 'X', '[]', '', '{}')"
        )
    walks.delete_in_steps(connection, "rejected_events", "code = 'X'", {}, gone.append)
    assert gone == [2, 1]


def test_a_table_without_a_key_is_emptied_all_at_once(spread, monkeypatch):
    connection, *_ = spread
    monkeypatch.setattr(walks, "STEP_ROWS", 5)
    connection.execute("CREATE TABLE no_key (shop_id integer, x integer)")
    connection.execute("INSERT INTO no_key SELECT 1 + n % 2, n FROM generate_series(1, 8) AS n")
    try:
        steps = []
        walks.delete_in_steps(connection, "no_key", "x > 2", {}, steps.append, shop_id=1)
        assert steps == [3]
        assert connection.execute("SELECT count(*) FROM no_key").fetchone() == (5,)
    finally:
        connection.execute("DROP TABLE no_key")


def test_figures_are_those_of_the_nodes_that_answer(spread):
    connection, *_ = spread
    [(alone,)] = connection.execute("SELECT pg_database_size(current_database())")
    assert figures.database_size(connection) == pytest.approx(2 * alone, rel=0.1)


def test_a_shop_that_is_back_is_found_shop_by_shop(spread):
    connection, *_ = spread
    names = [f"back-{number}.myshopify.com" for number in range(3)]
    for name in names:
        shops.mark_uninstalled(connection, name, NOW)
        after = timedelta(minutes=1) if name != names[1] else timedelta(0)
        store(connection, batch("a", ("a:b", NOW + after), shop=name))
    assert shops.mark_returned(connection) == [names[0], names[2]]


def test_user_agents_go_there_too(spread):
    connection, *_ = spread
    rest = b'{"$raw_user_agent":"Secret/1"}'
    store(connection, batch("a", ("a:b", NOW - timedelta(days=40)), rest=rest))
    assert remove_user_agents(connection, 30, lambda *_: None) == 1
    [(left,)] = connection.execute("SELECT count(*) FROM batches WHERE context::text ~ 'Secret'")
    assert left == 0


def test_contexts_whose_last_batch_goes_are_noted_without_a_trigger(spread):
    connection, *_ = spread
    shop = "contexts.myshopify.com"
    for number in range(2):
        store(connection, batch("a", ("a:b", NOW), shop=shop, browser=f"one of {number}"))
    shop_id = shops.find_id(connection, shop)

    def count(table):
        [(number,)] = connection.execute(
            f"SELECT count(*) FROM {table} WHERE shop_id = %s", [shop_id]
        )
        return number

    before = count("contexts")
    assert before >= 2
    assert count("doubted_contexts") == 0
    told = []
    assert delete_batches(connection, "true", {}, told.append, shop_id=shop_id) == 2
    assert (sum(told), count("doubted_contexts")) == (2, before)
    assert delete_unused(connection, shop_id) == before
    assert (count("contexts"), count("doubted_contexts")) == (0, 0)


def test_a_partition_has_longer_to_be_made(spread, monkeypatch):
    connection, *_ = spread
    monkeypatch.setattr(partitions, "_STATEMENT_TIMEOUT", "1ms")
    assert create_partitions(connection, date(2041, 5, 5))
    monkeypatch.setattr(partitions, "_SPREAD_STATEMENT_TIMEOUT", "1ms")
    monkeypatch.setattr(partitions, "_NO_EVENTS_YET", timedelta(days=10_000))
    assert create_partitions(connection, date(2051, 5, 5)) == []


def test_a_later_table_is_spread_by_the_upgrade(spread, monkeypatch, tmp_path):
    connection, _, asked = spread
    (tmp_path / "9000_later.sql").write_text(
        "CREATE TABLE later (shop_id integer, id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY)"
    )
    monkeypatch.setattr(migrate, "_FOLDER", tmp_path)
    assert migrate.upgrade(connection) == ["9000_later"]
    assert distribute(connection, print) == ["later"]
    new = connection.execute("SELECT what, of, beside FROM asked ORDER BY number").fetchall()
    assert new[len(asked)] == ("shop_id", "later", "events")
    assert walks._key(connection, "later") == ["shop_id", "id"]


def test_where_it_fails_nothing_is_changed(spread):
    connection, *_ = spread
    connection.execute("CREATE TABLE fails (id integer PRIMARY KEY, shop_id integer)")
    connection.execute("ALTER FUNCTION create_distributed_table RENAME TO gone")
    try:
        with pytest.raises(psycopg.errors.UndefinedFunction):
            distribute(connection, print)
        assert walks._key(connection, "fails") == ["id"]
    finally:
        connection.execute("ALTER FUNCTION gone RENAME TO create_distributed_table")
        connection.execute("DROP TABLE fails")
