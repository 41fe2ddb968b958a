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


def test_writing_leaves_no_temporary_table_behind(database, writer):
    for _ in range(3):
        writer.write(database, [batch("a")])
    assert database.execute("SELECT to_regclass('incoming_events')").fetchone() == (None,)


def test_a_shop_whose_first_batch_was_rolled_back_is_made_again(database, writer):
    with pytest.raises(ZeroDivisionError), database.transaction():
        writer.write(database, [batch("a")])
        raise ZeroDivisionError
    assert number_of(database, "shops") == 0
    assert writer.write(database, [batch("a")]) == 1
    assert number_of(database, "tracked_events") == 1
