import threading
from datetime import UTC, date, datetime
from pathlib import Path

import psycopg
import pytest

from app.store import migrate
from app.store.connections import connect
from app.store.partitions import _LOCK, create_partitions
from tests.postgres_servers import OLDEST, oldest
from tests.processes.running import wait_until

TODAY = date(2026, 11, 23)
ALL = sorted(file.stem for file in Path(migrate.__file__).with_name("migrations").glob("*.sql"))
pytestmark = pytest.mark.one_postgres  # no table is spread here


@pytest.fixture
def empty(empty_database_url):
    with connect(empty_database_url, "tests") as connection:
        yield connection


def partitions(connection):
    rows = connection.execute(
        "SELECT inhrelid::regclass::text FROM pg_inherits"
        " WHERE inhparent = 'events'::regclass ORDER BY 1"
    )
    return [row[0] for row in rows]


def test_an_empty_database_is_upgraded_and_a_second_run_changes_nothing(empty):
    assert {migration.applied_at for migration in migrate.status(empty)} == {None}
    assert migrate.upgrade(empty) == ALL
    assert migrate.upgrade(empty) == []
    assert all(migration.applied_at for migration in migrate.status(empty))


@pytest.mark.slow
@pytest.mark.skipif(not OLDEST.exists(), reason=f"there is no {OLDEST}")
def test_the_oldest_postgres_that_is_supported_takes_every_migration():
    with oldest() as server, connect(server.url, "tests") as connection:
        assert migrate.upgrade(connection) == ALL
        create_partitions(connection, TODAY)


def test_two_releases_at_once_apply_each_migration_once(empty_database_url):
    applied, errors = [], []

    def release():
        try:
            with connect(empty_database_url, "tests") as connection:
                applied.extend(migrate.upgrade(connection))
                create_partitions(connection, TODAY)
        except psycopg.Error as error:
            errors.append(error)

    threads = [threading.Thread(target=release) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert applied == ALL


def test_a_migration_that_fails_leaves_nothing_behind(empty, monkeypatch, tmp_path):
    (tmp_path / "0001_good.sql").write_text("CREATE TABLE good ();")
    (tmp_path / "0002_bad.sql").write_text("CREATE TABLE bad (); SELECT 1/0;")
    monkeypatch.setattr(migrate, "_FOLDER", tmp_path)
    with pytest.raises(psycopg.errors.DivisionByZero):
        migrate.upgrade(empty)
    assert empty.execute("SELECT to_regclass('good'), to_regclass('bad')").fetchone() == (
        None,
        None,
    )


def test_partitions_are_made_around_today_over_the_turn_of_a_year(empty):
    migrate.upgrade(empty)
    made = ["events_2026_10", "events_2026_11", "events_2026_12", "events_2027_01",
            "events_2027_02"]  # fmt: skip
    assert create_partitions(empty, TODAY) == made
    assert create_partitions(empty, TODAY) == []
    assert partitions(empty) == sorted([*made, "events_default"])
    assert create_partitions(empty, date(2026, 12, 31)) == ["events_2027_03"]


def test_of_two_processes_that_make_the_same_partitions_one_has_made_them(
    empty, empty_database_url
):
    migrate.upgrade(empty)
    made = []

    def make():
        with connect(empty_database_url, "tests") as connection:
            made.append(create_partitions(connection, TODAY))

    def waits():
        return empty.execute(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        ).fetchone()[0]

    empty.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
    slower = threading.Thread(target=make)
    slower.start()
    wait_until(waits)
    assert len(create_partitions(empty, TODAY)) == 5
    empty.execute("SELECT pg_advisory_unlock(%s)", [_LOCK])
    slower.join()
    assert made == [[]]


def test_rows_that_came_before_their_partition_move_into_it(empty):
    migrate.upgrade(empty)
    days = (
        datetime(2026, 9, 30, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(2026, 11, 1, tzinfo=UTC),
        datetime(2026, 11, 30, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(2027, 3, 1, tzinfo=UTC),
        datetime(2024, 1, 15, tzinfo=UTC),
    )
    for day in days:
        empty.execute(
            "INSERT INTO events (shop_id, occurred_at, insert_key, batch_id, event, insert_id)"
            " VALUES (1, %s, gen_random_uuid(), 1, 'a:b', 'x')",
            [day],
        )
    create_partitions(empty, TODAY)
    rows = empty.execute("SELECT tableoid::regclass::text FROM events ORDER BY 1").fetchall()
    assert rows == [("events_2026_11",)] * 2 + [("events_default",)] * 3


@pytest.mark.slow
def test_a_busy_default_partition_is_left_for_the_next_time(empty, empty_database_url, monkeypatch):
    monkeypatch.setattr("app.store.partitions._LOCK_TIMEOUT", "50ms")
    migrate.upgrade(empty)
    with psycopg.connect(empty_database_url) as other:
        other.execute("LOCK TABLE events_default IN ACCESS EXCLUSIVE MODE")
        assert create_partitions(empty, TODAY) == []
    assert len(create_partitions(empty, TODAY)) == 5
