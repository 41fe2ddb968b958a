"""What is older than its time goes, what is not stays."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from app.batch.batch import Batch, Context, Event
from app.store import retention, walks
from app.store.connections import connect
from app.store.partitions import create_partitions
from app.store.writer import Writer
from app.worker.upkeep import Retention, maintain
from tests.calls import CONTEXT, SHOP, body, event
from tests.processes.running import flask

DAYS = Retention(events=395, rejected=30, user_agents=30)


def silent(*_):
    pass


def ago(days, **more):
    return datetime.now(UTC) - timedelta(days=days, **more)


def store(database, at, *events, **context):
    """A batch that was received `at`; events are pairs of an id and a time."""
    batch = Batch.build(
        shop=SHOP,
        customer_id=None,
        received_at=at,
        context=Context({}, json.dumps({"$host": "yourstore.com"} | context).encode()),
        events=[Event("widget:button_click", id_, when, b"{}", b"{}") for id_, when in events],
        rejected=[],
    )
    Writer(statement_timeout=10_000).write(database, [batch])


@pytest.fixture
def three_years(database):
    """A shop's event for each 10 days of three years, received when it happened; the partitions
    of two of these years are there."""
    for days in range(0, 2 * 365, 28):
        create_partitions(database, ago(days).date())
    for days in range(0, 3 * 365, 10):
        at = ago(days)
        store(database, at, (str(days), at), **{"$raw_user_agent": f"Mozilla/5.0 ({days})"})
    yield
    for (name,) in database.execute(
        "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid"
        " WHERE inhparent = 'events'::regclass AND relname < %s AND relname <> 'events_default'",
        [f"events_{ago(40):%Y_%m}"],
    ).fetchall():
        database.execute(f"DROP TABLE {name}")


def count(database, table):
    return database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


@pytest.mark.slow
def test_of_three_years_thirteen_months_stay(three_years, database, caller, monkeypatch):
    monkeypatch.setattr(walks, "STEP_ROWS", 7)
    done = maintain(database, DAYS, silent)
    kept = [row["occurred_at"] for row in caller.rows()]
    first_of_month = ago(395).replace(day=1, hour=0, minute=0, second=0)
    assert min(kept) > first_of_month - timedelta(days=1)
    assert sum(at > ago(395) for at in kept) == 40
    assert done["partitions dropped"] >= 10
    assert done["events deleted"] > 20
    orphans = "(SELECT 1 FROM batches WHERE id NOT IN (SELECT batch_id FROM events)) AS o"
    assert count(database, orphans) == 0
    assert count(database, "events") == count(database, "batches") == len(kept)
    assert not {"events deleted", "batches deleted"} & maintain(database, DAYS, silent).keys()


def test_no_batch_stays_without_its_events_and_no_event_without_its_batch(three_years, database):
    """Old-dated events that were received in a month of which others are still kept."""
    received_at = ago(395, seconds=1)
    create_partitions(database, received_at.date())
    old = datetime(2015, 1, 1, tzinfo=UTC)
    store(database, received_at, ("alone", old), name="orphan")
    store(database, received_at, ("old", old), ("kept", received_at), name="parent")
    maintain(database, DAYS, silent)
    names = database.execute("SELECT context->>'name' FROM batches WHERE context ? 'name'")
    assert names.fetchall() == [("parent",)]
    orphans = "(SELECT 1 FROM batches WHERE id NOT IN (SELECT batch_id FROM events)) AS o"
    assert count(database, orphans) == 0


def test_a_batch_received_late_on_a_months_last_evening_stays_with_its_event_of_the_next(database):
    """Its clock was ahead by less than the hour that is believed."""
    first = retention.partitions_begin(database)
    ahead = first + timedelta(minutes=10)
    store(database, first - timedelta(minutes=45), ("ahead", ahead), name="kept")
    store(database, first - timedelta(minutes=61), ("before", first - timedelta(minutes=61)))
    retention.delete_old_rows(database, first + timedelta(hours=2), silent)
    assert database.execute(
        "SELECT context->>'name', insert_id FROM tracked_events"
    ).fetchall() == [("kept", "ahead")]


def test_an_old_event_that_was_just_received_stays(caller, database):
    caller.post(body(event(timestamp="2019-01-01T00:00:00Z"), event()))
    assert len(caller.rows()) == 2
    maintain(database, DAYS, silent)
    assert len(caller.rows()) == 2


@pytest.mark.slow
def test_raw_user_agents_go_earlier_than_the_rest(three_years, database, caller, monkeypatch):
    monkeypatch.setattr(walks, "STEP_ROWS", 3)
    # It came out of a spool, long after it was received.
    store(database, ago(40), ("late", datetime.now(UTC)), **{"$raw_user_agent": "late"})
    caller.post(body(event(), context=CONTEXT | {"$raw_user_agent": "new"}))
    caller.rows()
    for _ in range(2):
        maintain(database, Retention(events=10_000, rejected=30, user_agents=30), silent)
    young = [row["received_at"] for row in caller.rows() if "$raw_user_agent" in row["context"]]
    assert min(young) > ago(41)
    assert len(young) == 4  # of today, 10 and 20 days ago, and the new one
    assert all(row["context"]["$host"] == "yourstore.com" for row in caller.rows())


@pytest.mark.slow
def test_a_partition_in_use_is_left_for_the_next_time(
    three_years, database, database_url, monkeypatch
):
    monkeypatch.setattr(retention, "_LOCK_TIMEOUT", "20ms")
    with connect(database_url, "tests") as reader, reader.transaction():
        reader.execute("SELECT count(*) FROM events")
        assert retention.drop_old_partitions(database, ago(395)) == []
    assert len(retention.drop_old_partitions(database, ago(395))) >= 10


@pytest.mark.slow
def test_it_can_be_done_by_hand(settings):
    result = flask(settings, "db", "maintain")
    assert (result.returncode, result.stdout) == (0, "There was nothing to do.\n")
