"""Each row is walked over once, wherever the pieces end."""

from datetime import UTC, datetime

import pytest

from app.batch.batch import Batch, Context, Event
from app.store import walks
from app.store.writer import Writer

NOW = datetime.now(UTC)
SHOP, OTHER = "a-shop.myshopify.com", "b.myshopify.com"


@pytest.fixture
def given(database):
    """Stores batches of a shop with so many events each; returns the shop's id."""

    def given(*sizes, shop=SHOP, at=NOW):
        batches = [
            Batch.build(
                shop=shop, customer_id=None, received_at=NOW, context=Context(), rejected=[],
                events=[Event("a:b", f"{number}-{n}", at, b"{}", b"{}") for n in range(size)],
            )
            for number, size in enumerate(sizes)
        ]  # fmt: skip
        Writer(statement_timeout=10_000).write(database, batches)
        row = database.execute("SELECT id FROM shops WHERE domain = %s", [shop]).fetchone()
        return row[0]

    return given


def move_around(database):
    """So that rows do not lie in the order of their keys."""
    for table, key in (("stored_batches", "id"), ("events", "insert_key")):
        half = f"SELECT {key} FROM {table} ORDER BY {key} LIMIT 2"
        database.execute(f"UPDATE {table} SET shop_id = shop_id WHERE {key} IN ({half})")


@pytest.mark.parametrize("number", [0, 2, 3, 4])
def test_every_event_is_in_one_window(given, database, monkeypatch, number):
    monkeypatch.setattr(walks, "WINDOW_ROWS", 2)
    given(3, shop=OTHER)
    shop_id = given(number) if number else 0
    move_around(database)
    partition = f"events_{NOW:%Y_%m}"
    found = []
    for window, values in walks.event_windows(database, shop_id, partition):
        statement = f"SELECT e.insert_key FROM {partition} AS e WHERE {window.as_string()}"
        rows = database.execute(statement, values).fetchall()
        assert len(rows) <= 3
        found += rows
    assert len(found) == len(set(found)) == number


@pytest.mark.parametrize("number", [0, 2, 3, 4])
def test_every_batch_is_in_one_window(given, database, monkeypatch, number):
    monkeypatch.setattr(walks, "WINDOW_ROWS", 2)
    given(1, 1, shop=OTHER)
    shop_id = given(*[1] * number) if number else 0
    move_around(database)
    ids = [
        row[0] for row in database.execute("SELECT id FROM batches WHERE shop_id = %s", [shop_id])
    ]
    windows = list(walks.batch_windows(database, shop_id))
    inside = [id_ for after, last, _ in windows for id_ in ids if after < id_ <= last]
    assert sorted(inside) == sorted(ids)
    assert [count for _, _, count in windows] == [2] * (number // 2) + [1] * (number % 2)


@pytest.mark.parametrize("number", [0, 2, 3, 4])
def test_what_is_deleted_goes_in_steps_and_all_of_it(given, database, monkeypatch, number):
    monkeypatch.setattr(walks, "STEP_ROWS", 2)
    given(1, shop=OTHER)
    shop_id = given(*[1] * number) if number else 0
    steps = []
    deleted = walks.delete_in_steps(
        database, "stored_batches", "shop_id = %(id)s", {"id": shop_id}, steps.append
    )
    assert deleted == sum(steps) == number
    assert max(steps) <= 2
    assert database.execute("SELECT count(*) FROM batches").fetchone() == (1,)


def test_what_a_step_tells_is_rolled_back_with_it(given, database):
    shop_id = given(1)

    def fail(rows):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        walks.delete_in_steps(database, "stored_batches", "shop_id = %(id)s", {"id": shop_id}, fail)
    assert database.execute("SELECT count(*) FROM batches").fetchone() == (1,)


def test_what_is_changed_goes_in_steps_and_all_of_it(given, database, monkeypatch):
    monkeypatch.setattr(walks, "STEP_ROWS", 2)
    shop_id = given(1, 1, 1, 1)
    steps = []
    changed = walks.update_in_steps(
        database, "stored_batches", "browser = 'x'", "shop_id = %(id)s AND browser IS NULL",
        {"id": shop_id}, steps.append,
    )  # fmt: skip
    assert (changed, max(steps)) == (4, 2)


@pytest.mark.parametrize("number", [0, 2, 3, 4])
def test_a_list_is_cut_into_parts_without_a_loss(monkeypatch, number):
    monkeypatch.setattr(walks, "STEP_ROWS", 2)
    parts = list(walks.steps(list(range(number))))
    assert [item for part in parts for item in part] == list(range(number))
    assert all(0 < len(part) <= 2 for part in parts)
