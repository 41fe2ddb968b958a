"""Of what cannot be stored together, as much as can be is stored apart."""

import logging

import psycopg
import pytest

from app.batch.batch import Batch
from app.rejected.replay import find
from app.store.salvage import write_isolating
from app.store.writer import Writer
from tests.store.test_writer import batch


@pytest.fixture
def store(database):
    writer = Writer(statement_timeout=10_000)
    return lambda *batches: write_isolating(lambda part: writer.write(database, part), [*batches])


def damaged(*ids, **options):
    """The first event has a date that is none."""
    bad = batch(*ids, **options)
    bad.events[0] = bad.events[0].replace(bad.events[0][:10], b"2024-02-31")
    return bad


@pytest.mark.parametrize("number", [1, 4])
def test_one_event_that_cannot_be_stored_costs_no_other(store, database, number):
    others = [f"id-{n}" for n in range(number)]
    assert store(batch("x", "y"), damaged("bad", *others), batch("z")) == number + 3
    [kept] = find(database)
    assert (kept.code, kept.shop) == ("UNSTORABLE", "a-shop.myshopify.com")
    assert kept.details[0]["message"] == "DatetimeFieldOverflow: 22008"
    assert kept.payload.count("\n") == 1


def test_what_was_rejected_is_kept_beside_an_event_that_cannot_be_stored(store, database):
    assert store(damaged("bad", rejected=["{}", "[]"])) == 0
    assert sorted(one.code for one in find(database)) == [
        "UNSTORABLE", "VALIDATION_FAILED", "VALIDATION_FAILED"
    ]  # fmt: skip


def test_an_event_is_stored_beside_something_rejected_that_cannot_be(store, database):
    bad = batch("good", rejected=["{}"])
    bad.rejected = bad.rejected.replace(b'"code":"VALIDATION_FAILED"', b'"code":null')
    assert store(bad) == 1
    [kept] = find(database)
    assert kept.code == "UNSTORABLE"


@pytest.mark.parametrize(
    "fault", [psycopg.OperationalError, psycopg.InterfaceError, psycopg.ProgrammingError, OSError]
)
def test_while_the_server_is_at_fault_nothing_is_given_up(fault):
    calls = []

    def write(part):
        calls.append(len(part))
        raise fault

    with pytest.raises(fault):
        write_isolating(write, [batch("a"), batch("b")])
    assert calls == [2]


def test_what_is_too_much_for_the_server_is_tried_in_parts():
    def write(part):
        if len(part) > 1:
            raise psycopg.errors.ProgramLimitExceeded
        return 1

    assert write_isolating(write, [batch("a"), batch("b")]) == 2


def test_the_log_tells_no_values(store, caplog):
    with caplog.at_level(logging.INFO):
        store(damaged("a-secret-id"))
    [line] = [one for one in caplog.records if getattr(one, "action", "") == "poison"]
    assert (line.shop, line.levelname) == ("a-shop.myshopify.com", "ERROR")
    assert "secret" not in str(line.__dict__)
    assert "2024-02-31" not in str(line.__dict__)


def test_an_entry_without_any_shop_that_can_be_is_kept_too(store, database):
    bad = damaged("bad")
    assert store(Batch("a\0b", bad.line, bad.events)) == 0
    assert [one.shop for one in find(database)] == ["a\ufffdb"]


def test_a_node_that_goes_away_in_between_costs_no_event(database):
    """As a Citus says it; of a single event too."""

    def write(part):
        raise psycopg.errors.InternalError_("failure on connection marked as essential: node:5432")

    with pytest.raises(psycopg.errors.InternalError_):
        write_isolating(write, [batch("a")])
