import threading
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from app.batch.batch import Batch, Context, Event, Rejected
from app.store.connections import connect
from app.store.writer import Writer

NOW = datetime.now(UTC)


def batch(*ids, shop="a-shop.myshopify.com", rejected=()):
    return Batch.build(
        shop=shop,
        customer_id=None,
        received_at=NOW,
        context=Context(),
        events=[
            Event("widget:button_click", id_, NOW - timedelta(minutes=n), b"{}", b"{}")
            for n, id_ in enumerate(ids)
        ],
        rejected=[Rejected(0, "VALIDATION_FAILED", [], payload) for payload in rejected],
    )


@pytest.fixture
def writer():
    return Writer(statement_timeout=10_000)


def number_of(database, table):
    return database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


def test_batches_are_stored_with_one_row_for_what_their_events_share(database, writer):
    stored = writer.write(database, [batch("a", "b"), batch("c", shop="b.myshopify.com")])
    assert stored == 3
    assert number_of(database, "tracked_events") == 3
    assert number_of(database, "batches") == 2
    assert number_of(database, "shops") == 2


def test_what_was_stored_before_is_left_out_and_the_rest_stored(database, writer):
    writer.write(database, [batch("a", "b")])
    assert writer.write(database, [batch("a", "b"), batch("c")]) == 1
    assert number_of(database, "tracked_events") == 3
    assert number_of(database, "batches") == 2


def test_the_same_event_twice_in_one_transaction_is_stored_once(database, writer):
    assert writer.write(database, [batch("a"), batch("a")]) == 1
    assert number_of(database, "batches") == 1


def test_rejected_events_of_a_redelivered_batch_are_stored_once(database, writer):
    redelivered = batch("a", rejected=["one", "two", "two"])
    writer.write(database, [redelivered])
    writer.write(database, [redelivered])
    assert number_of(database, "rejected_events") == 3


def test_a_failure_stores_nothing_of_the_transaction(database, writer):
    bad = batch("b")
    bad.events = [b"not a line"]
    with pytest.raises(psycopg.DataError):
        writer.write(database, [batch("a"), bad])
    assert number_of(database, "events") == 0
    assert writer.write(database, [batch("a")]) == 1


def test_writers_with_the_same_events_in_another_order_do_not_lock_each_other_out(
    database_url, database, writer
):
    ids = [f"id-{number}" for number in range(200)]
    batches = [batch(*ids[start : start + 10]) for start in range(0, 200, 10)]
    writer.write(database, [batch(ids[7])])  # so that all take the way around conflicts
    stored, errors = [], []

    def write(order):
        try:
            with connect(database_url, "tests") as connection:
                stored.append(writer.write(connection, order))
        except psycopg.Error as error:
            errors.append(error)

    for _ in range(5):
        threads = [threading.Thread(target=write, args=[batches[:: 1 - 2 * n]]) for n in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert errors == []
    assert number_of(database, "events") == sum(stored) + 1


@pytest.mark.one_postgres  # its triggers
def test_writers_of_the_same_new_events_do_not_lock_each_other_out(database_url, database, writer):
    """Each row takes a while, so both are at it at once."""
    database.execute(
        "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_sleep(0.05); RETURN NEW; END $$;"
        "CREATE TRIGGER dawdle BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION dawdle()"
    )
    writer.write(database, [batch("before")])  # knows the shop now
    stored = []

    def write(*ids):
        with connect(database_url, "tests") as connection:
            stored.append(writer.write(connection, [batch(id_) for id_ in ids]))

    try:
        threads = [threading.Thread(target=write, args=ids) for ids in (("a", "b"), ("b", "a"))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        database.execute("DROP FUNCTION dawdle CASCADE")
    assert sorted(stored) == [0, 2]


def test_a_statement_that_takes_too_long_is_ended_and_no_other_is_bound_by_its_limit(
    database_url, database
):
    with connect(database_url, "tests") as other, other.transaction():
        other.execute("LOCK TABLE batches")
        with pytest.raises(psycopg.errors.QueryCanceled):
            Writer(statement_timeout=50).write(database, [batch("a")])
    Writer(statement_timeout=10_000).write(database, [batch("a")])
    assert database.execute("SHOW statement_timeout").fetchone() == ("0",)
    assert number_of(database, "events") == 1


def test_writing_leaves_no_temporary_table_behind(database, writer):
    for _ in range(3):
        writer.write(database, [batch("a")])
    assert database.execute("SELECT to_regclass('incoming_events')").fetchone() == (None,)


def test_a_shop_whose_first_batch_was_rolled_back_is_made_again(database, writer):
    with database.transaction(force_rollback=True):
        writer.write(database, [batch("a")])
    assert number_of(database, "shops") == 0
    assert writer.write(database, [batch("a")]) == 1
    assert number_of(database, "tracked_events") == 1
