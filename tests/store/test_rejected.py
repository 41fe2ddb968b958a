"""rejected_events: what the cap may drop, and what it may not."""

import json
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from app.batch.batch import Batch, Context, Rejected
from app.rejected.replay import find, replay
from app.store import rejected as store
from app.store.writer import Writer
from tests.calls import SHOP, body, event

NOW = datetime.now(UTC)


@pytest.fixture
def writer():
    return Writer(statement_timeout=10_000)


def batch(*codes, shop=SHOP, at=NOW, payload="{}"):
    return Batch.build(
        shop=shop, customer_id=None, received_at=at, context=Context(), events=[],
        rejected=[Rejected(None, code, [], payload) for code in codes],
    )  # fmt: skip


def kept(database, **condition):
    return [one.code for one in find(database, **condition)]


@pytest.fixture
def cap(monkeypatch):
    monkeypatch.setattr(store, "MOST_ROWS", 2)
    monkeypatch.setattr(store, "FIRST_OF_A_CAUSE", 0)


@pytest.mark.parametrize("code", [store.UNSTORABLE, store.UNREADABLE])
def test_what_was_accepted_is_kept_beyond_the_cap_and_does_not_use_it_up(
    database, writer, cap, code
):
    writer.write(database, [batch(code, code, code, "A", "B", code, "C")])
    assert sorted(kept(database)) == sorted([code] * 4 + ["A", "B"])


def test_the_cap_is_the_shops_own_and_begins_anew_each_day(database, writer, cap):
    before = Writer(statement_timeout=10_000)
    midnight = NOW.replace(hour=0, minute=0, second=0, microsecond=0)
    yesterday = midnight - timedelta(microseconds=1)
    before.write(database, [batch("A", "B", at=yesterday), batch("C", shop="b.myshopify.com")])
    writer.write(database, [batch("A", at=midnight)])
    writer.write(database, [batch("B", "C", "D")])
    assert kept(database, shop=SHOP, code="A") == ["A", "A"]
    assert kept(database, shop=SHOP, code="B") == ["B", "B"]
    assert kept(database, code="C") == ["C"]


def test_beyond_the_bound_the_first_of_each_cause_are_kept_up_to_twice_as_much(
    database, writer, monkeypatch
):
    monkeypatch.setattr(store, "MOST_ROWS", 6)
    monkeypatch.setattr(store, "MOST_OF_A_CAUSE", 4)
    monkeypatch.setattr(store, "FIRST_OF_A_CAUSE", 2)
    writer.write(database, [batch(*"AAAAABBBCCCDDDEEE" + "FFFGGG")])
    assert "".join(sorted(kept(database))) == "AAAABBCCDDEE"


def test_large_payloads_use_the_bound_up_as_many_rows_do(database, writer, monkeypatch):
    monkeypatch.setattr(store, "MOST_BYTES", 1_000)
    monkeypatch.setattr(store, "FIRST_OF_A_CAUSE", 1)
    for code in "ABACDE":
        writer.write(database, [batch(code, payload="x" * 500)])
    assert sorted(kept(database)) == ["A", "B", "C", "D"]
    assert kept(database, shop="b.myshopify.com") == []


def test_what_other_processes_keep_is_counted_after_five_seconds(database, writer, monkeypatch):
    now = [1_000.0]
    monkeypatch.setattr(store.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(store, "MOST_ROWS", 3)
    monkeypatch.setattr(store, "FIRST_OF_A_CAUSE", 0)
    writer.write(database, [batch("A")])
    other = Writer(statement_timeout=10_000)
    other.write(database, [batch("B")])
    now[0] += 4.9
    writer.write(database, [batch("C", "D", "E")])  # as if it were alone
    assert sorted(kept(database)) == ["A", "B", "C", "D"]
    now[0] += 0.2
    writer.write(database, [batch("F")])
    assert len(kept(database)) == 4


def test_a_row_whose_transaction_was_rolled_back_does_not_count_twice(
    database, writer, monkeypatch
):
    monkeypatch.setattr(store, "MOST_ROWS", 2)
    monkeypatch.setattr(store, "FIRST_OF_A_CAUSE", 0)
    both = batch("A", "B")
    rejections = store.Rejections()
    for _ in range(2):
        with database.transaction(force_rollback=True):
            rejections.write(database, [both])
    rejections.write(database, [both, batch("C")])
    assert sorted(kept(database)) == ["A", "B"]


def test_a_cause_is_the_code_and_the_details_without_their_numbers():
    details = '[{"path": "events[%d].event", "message": "must be a string"}]'
    assert store._cause("A", details % 1) == store._cause("A", details % 20)
    assert store._cause("A", details % 1) != store._cause("B", details % 1)
    assert store._cause("A", details % 1) != store._cause("A", "[]")


def test_a_hundred_a_day_of_a_cause_are_kept(database, writer):
    for number in range(3):
        writer.write(database, [batch(*["A"] * 40, payload=f'"{number}"')])
    assert len(kept(database)) == 100


def test_what_is_exactly_as_old_as_its_retention_is_not_deleted_early(database, writer):
    for days in (29, 31):
        writer.write(database, [batch("A", at=NOW - timedelta(days=days))])
    assert store.delete_expired(database, 30) == 1
    [left] = find(database)
    assert left.received_at == NOW - timedelta(days=29)


def test_a_replay_that_cannot_take_it_out_of_the_list_stores_nothing(database, writer):
    valid_today = json.dumps(body())
    writer.write(database, [batch("VALIDATION_FAILED", payload=valid_today)])
    database.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE 'no'; END $$;"
        "CREATE TRIGGER refuse BEFORE DELETE ON rejected_events EXECUTE FUNCTION refuse()"
    )
    try:
        with pytest.raises(psycopg.errors.RaiseException):
            list(replay(database, writer, find(database)))
    finally:
        database.execute("DROP FUNCTION refuse CASCADE")
    assert database.execute("SELECT count(*) FROM events").fetchone() == (0,)
    assert [reason for _, reason in replay(database, writer, find(database))] == [None]
    assert database.execute("SELECT count(*) FROM events").fetchone() == (1,)
    assert find(database) == []


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ("{", "The body is not valid JSON"),
        (json.dumps(body(event(timestamp=1, event=2))), "event must be a string; timestamp must "),
        (json.dumps({"events": [event()]}), "context is required"),
    ],
)
def test_what_stays_stays_with_all_that_is_wrong_with_it(database, writer, payload, reason):
    writer.write(database, [batch("VALIDATION_FAILED", payload=payload)])
    [(rejection, told)] = replay(database, writer, find(database))
    assert told.startswith(reason)
    assert [one.id for one in find(database)] == [rejection.id]


def test_they_are_found_by_what_they_have_in_common_the_newest_first(database, writer):
    for minutes, (code, shop) in enumerate((("A", SHOP), ("B", SHOP), ("A", "b.myshopify.com"))):
        at = NOW + timedelta(minutes=minutes)
        writer.write(database, [batch(code, shop=shop, at=at)])
    assert [one.id for one in find(database)] == [3, 2, 1]
    assert [one.id for one in find(database, limit=2)] == [3, 2]
    assert [one.id for one in find(database, code="A")] == [3, 1]
    assert [one.id for one in find(database, shop=SHOP)] == [2, 1]
    assert [one.id for one in find(database, shop=SHOP, code="A", id_=1)] == [1]
    assert find(database, shop=SHOP, id_=3) == []
