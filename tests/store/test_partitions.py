"""Making a partition while there is much in the DEFAULT one."""

from datetime import UTC, datetime, timedelta

import pytest

from app.store import partitions
from app.store.partitions import create_partitions

NOW = datetime.now(UTC)
ROWS = 50_000
LATER = (NOW + timedelta(days=31)).date()


@pytest.fixture
def much_by_default(database):
    """Events of 2019 and before, and none of a month ahead."""
    name = create_partitions(database, LATER)
    for one in name:
        database.execute(f"DROP TABLE {one}")
    database.execute(
        "INSERT INTO events (shop_id, occurred_at, insert_key, event, batch_id)"
        " SELECT 1, '2019-01-01'::timestamptz - n * interval '1 minute', gen_random_uuid(),"
        " 'a:b', 1 FROM generate_series(1, %s) AS n",
        [ROWS],
    )
    yield name
    for one in name:
        database.execute(f"DROP TABLE IF EXISTS {one}")


def constraints(database):
    return database.execute(
        "SELECT conname FROM pg_constraint"
        " WHERE conrelid = 'events_default'::regclass AND contype = 'c'"
    ).fetchall()


@pytest.mark.slow
def test_no_row_is_read_under_the_lock_that_holds_writers_up(much_by_default, database):
    told = []
    database.add_notice_handler(lambda notice: told.append(notice.message_primary))
    database.execute("SET client_min_messages = debug1")
    assert create_partitions(database, LATER) == much_by_default
    spared = [one for one in told if 'partition "events_default" is implied' in one]
    assert len(spared) == len(much_by_default)
    assert constraints(database) == []


def test_a_month_under_way_holds_no_writer_up_for_long_either(
    much_by_default, database, monkeypatch
):
    monkeypatch.setattr(partitions, "_NO_EVENTS_YET", timedelta(days=1_000))
    for timeout in ("_STATEMENT_TIMEOUT", "_SPREAD_STATEMENT_TIMEOUT"):
        monkeypatch.setattr(partitions, timeout, "1ms")
    assert create_partitions(database, LATER) == []
    for timeout in ("_STATEMENT_TIMEOUT", "_SPREAD_STATEMENT_TIMEOUT"):
        monkeypatch.setattr(partitions, timeout, "10s")
    assert create_partitions(database, LATER) == much_by_default


def test_what_keeps_a_month_ahead_empty_stays_until_its_partition_is_made(
    much_by_default, database
):
    months = [partitions._named(name) for name in much_by_default]
    for month in months:
        assert partitions._exclude(database, month)
    partitions._clear(database)
    assert len(constraints(database)) == sum(map(partitions._is_ahead, months)) > 0
    partitions._create(database, months[-1], is_alone=False)
    partitions._clear(database)
    assert f"without_{months[-1].name}" not in str(constraints(database))


def test_rows_of_a_month_ahead_move_all_the_same(much_by_default, database):
    month = partitions._named(much_by_default[0])
    database.execute(
        "INSERT INTO events (shop_id, occurred_at, insert_key, event, batch_id)"
        " VALUES (1, %s, gen_random_uuid(), 'a:b', 1)",
        [month.begin],  # of its first moment
    )
    assert create_partitions(database, LATER, is_alone=True) == much_by_default
    assert database.execute(f"SELECT count(*) FROM {month.name}").fetchone() == (1,)
    assert constraints(database) == []


def test_what_a_process_that_was_killed_has_left_refuses_no_event(
    much_by_default, database, monkeypatch
):
    months = [partitions._named(name) for name in much_by_default]
    for month in months:
        assert partitions._exclude(database, month)
    assert len(constraints(database)) == len(months)
    monkeypatch.setattr(partitions, "_NO_EVENTS_YET", timedelta(days=1_000))
    monkeypatch.setattr(partitions, "_create", lambda *_: False)
    create_partitions(database, LATER)
    assert constraints(database) == []
