"""What is counted is held in memory a part at a time; in parts it comes to the same."""

import pytest

from app.counts import counting, experiments, journeys, recount, stored, tally
from app.counts.cells import unpack
from app.counts.period import find_shop
from app.counts.rollups import rebuild
from app.merchant.experiments import start
from tests.calls import SHOP
from tests.counts.histories import CART_ADD, PAGE, batch, count_all, store, visit

OTHER = "other.myshopify.com"


def numbers(database):
    """All that is counted; values by their texts, for their numbers are given in turn."""
    names = dict(database.execute("SELECT id, value FROM report_values").fetchall())
    counted = sorted(
        (shop, dimension, day, names.get(part, str(part)), names.get(value, str(value)), *rest)
        for shop, dimension, day, part, cells in database.execute(
            "SELECT shop_id, dimension, day, part, cells FROM report_counts"
        ).fetchall()
        for value, *rest in unpack(cells)
    )
    days = (
        "SELECT day, is_held_back, visitors, added, saw_widget FROM experiment_days ORDER BY 1, 2"
    )
    visitors = "SELECT shop_id, visitor FROM report_visitors ORDER BY 1, 2"
    return (
        counted,
        database.execute(days).fetchall(),
        [shop for shop, _ in database.execute(visitors)],
    )


@pytest.fixture
def history(database):
    with database.transaction():
        start(database, SHOP, share=50, salt="s", begins="2026-03-01T00:00:00+00:00")
    for number in range(4):
        store(
            database,
            *(visit(f"v{visitor}", 1 + (visitor + number) % 7, minutes=9 * number,
                    product_id=f"p{visitor % 3}", lib_version=f"{number}") for visitor in range(6)),
            *(batch(f"w{visitor}", (PAGE, 0), (CART_ADD, 5), shop=OTHER) for visitor in range(3)),
        )  # fmt: skip


@pytest.fixture
def written(monkeypatch):
    """How many rows of counts were written at each time."""
    sizes = []
    for module in (counting, recount):
        plain = module.add_cells

        def add_cells(connection, cells, plain=plain):
            sizes.append(len(cells))
            plain(connection, cells)

        monkeypatch.setattr(module, "add_cells", add_cells)
    return sizes


PARTS = [
    {(counting, "_VISITORS"): 1},
    {(counting, "_EVENTS"): 1},
    {(counting, "MOST"): 1, (counting, "_LEAST"): 1},
    {(tally, "_LARGE"): 0, (tally, "_MANY"): 0, (counting, "_VISITORS"): 1},
    {(stored, "_ROWS"): 1, (stored, "_JOURNEYS_AT_ONCE"): 1},
    {(journeys, "_AT_ONCE"): 1, (experiments, "_AT_ONCE"): 1},
]


@pytest.mark.parametrize("parts", PARTS, ids=lambda parts: ", ".join(name for _, name in parts))
def test_in_parts_it_comes_to_the_same(database, history, written, monkeypatch, parts):
    count_all(database)
    shops = [find_shop(database, name).id for name in (SHOP, OTHER)]
    at_once = numbers(database)
    assert at_once[1]
    for table in ("report_counts", "report_visitors", "report_values", "experiment_days",
                  "experiment_visitors"):  # fmt: skip
        database.execute(f"DELETE FROM {table}")
    for (module, name), value in parts.items():
        monkeypatch.setattr(module, name, value)
    for shop_id in shops:
        rebuild(database, shop_id)
    assert numbers(database) == at_once


@pytest.mark.parametrize("parts", PARTS, ids=lambda parts: ", ".join(name for _, name in parts))
def test_what_is_announced_comes_to_the_same_as_what_is_stored(
    database, history, monkeypatch, parts
):
    for (module, name), value in parts.items():
        monkeypatch.setattr(module, name, value)
    count_all(database)
    found = numbers(database)
    monkeypatch.undo()
    for name in (SHOP, OTHER):
        rebuild(database, find_shop(database, name).id)
    assert numbers(database) == found


def test_few_numbers_are_written_once_and_many_in_parts(database, written, monkeypatch):
    store(database, *(visit(f"v{visitor}", 3, product_id=f"p{visitor}") for visitor in range(6)))
    count_all(database)
    [everything] = filter(None, written)
    written.clear()
    shop_id = find_shop(database, SHOP).id
    rebuild(database, shop_id)
    assert [*filter(None, written)] == [everything]
    written.clear()
    monkeypatch.setattr(tally, "_LARGE", 0)
    monkeypatch.setattr(tally, "_MANY", 0)
    rebuild(database, shop_id)
    assert len([*filter(None, written)]) == 6
    assert max(written) < everything
    written.clear()
    monkeypatch.setattr(counting, "_VISITORS", 1)
    store(database, *(visit(f"w{visitor}", 3, product_id=f"p{visitor}") for visitor in range(6)))
    count_all(database)
    assert len([*filter(None, written)]) == 6


def test_as_many_visitors_or_events_are_merged_at_once_as_is_said(monkeypatch):
    monkeypatch.setattr(counting, "_VISITORS", 3)
    monkeypatch.setattr(counting, "_EVENTS", 10)
    few = {(1, f"v{number}"): [(None, [b"e"])] for number in range(7)}
    assert [len(part) for part in counting._parts(few)] == [3, 3, 1]
    long = {(1, f"v{number}"): [(None, [b"e"] * 5), (None, [b"e"])] for number in range(5)}
    assert [len(part) for part in counting._parts(long)] == [2, 2, 1]
    exact = {(1, f"v{number}"): [(None, [b"e"] * 5)] for number in range(6)}
    assert [len(part) for part in counting._parts(exact)] == [3, 3]
    assert list(counting._parts({})) == []
