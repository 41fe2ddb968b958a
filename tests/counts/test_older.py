"""Which visitors have events that are older than what is stored; and one value's cells."""

import pytest

from app.counts import journeys
from app.counts.cells import _CELL, _TIME, of_value, times_of_value
from app.counts.measures import Event

FIRST, SECOND = (f"{number:032x}" for number in (1, 2))


def event(at):
    return Event(at, 0, 0, 1, 1, 1, 1)


@pytest.fixture
def kept(database):
    def kept(shop_id, number, *times):
        visitor = shop_id, f"{number:032x}"
        packed = journeys.pack([event(at) for at in times]) if times else None
        journeys.write(database, {visitor: packed}, [])
        return visitor

    return kept


def older(database, shop_id, oldest):
    with database.transaction():
        return sorted(
            visitor
            for some in journeys.read_older(database, shop_id, oldest)
            for visitor, _ in some
        )


def test_those_are_read_whose_first_event_is_older_of_the_shop_alone(database, kept):
    before = kept(1, 1, 99, 500)
    kept(1, 2, 100, 500)
    kept(1, 3, 101)
    kept(1, 4)  # a robot, of whom nothing is kept
    kept(2, 5, 99)
    long_ago, other = kept(1, 6, -5), kept(2, 7, -5)
    assert older(database, 1, 100) == [before, long_ago]
    assert older(database, 2, 0) == [other]


def test_they_are_read_some_at_a_time_with_what_is_kept(database, kept, monkeypatch):
    monkeypatch.setattr(journeys, "_AT_ONCE", 2)
    for number in range(5):
        kept(1, number, number)
    with database.transaction():
        parts = list(journeys.read_older(database, 1, 10))
    assert [len(part) for part in parts] == [2, 2, 1]
    found = {visitor: packed for part in parts for visitor, packed in part}
    assert found[1, SECOND] == journeys.pack([event(2)])
    assert found[1, FIRST] == journeys.pack([event(1)])


VALUES = (-1, 0, 1, 5, 5, 300)


@pytest.mark.parametrize("value", [-1, 0, 1, 2, 5, 300, 2**31 - 1, -(2**31)])
def test_of_one_value_its_cells_are_found_in_any_order_or_in_theirs(value):
    cells = [_CELL.pack(one, 1, place, 2) for place, one in enumerate(VALUES)]
    times = [_TIME.pack(one, 1, place, 2) for place, one in enumerate(VALUES)]
    wanted = b"".join(cell for cell, one in zip(cells, VALUES, strict=True) if one == value)
    of_times = b"".join(cell for cell, one in zip(times, VALUES, strict=True) if one == value)
    in_order = b"".join(cells)
    assert of_value(value, in_order, in_order) == (wanted, wanted)
    assert times_of_value(value, b"".join(times)) == of_times
    mixed = b"".join(reversed(cells))
    backwards = b"".join(
        cell for cell, one in reversed(list(zip(cells, VALUES, strict=True))) if one == value
    )
    assert of_value(value, mixed, None) == (backwards, None)  # of the release before
