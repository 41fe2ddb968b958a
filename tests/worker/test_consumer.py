"""The worker's steps on real servers, with faults between them."""

import itertools
import json
import threading
from dataclasses import replace

import psycopg
import pytest

from app.intake import keys
from app.worker import consumer as consumer_module
from tests.calls import body, event
from tests.draining import drain
from tests.pauses import Pauses

STREAM = "{t0}:stream"


def test_what_is_stored_leaves_the_stream(caller, consuming, redis_client, stopping):
    caller.post(body(event(), event()))
    assert consuming("one").run_once(stopping) is True
    assert redis_client.xlen(STREAM) == 0
    assert redis_client.xpending(STREAM, keys.GROUP)["pending"] == 0
    assert len(caller.rows()) == 2


def test_what_waited_before_the_group_was_made_is_not_skipped(caller, consuming, stopping):
    caller.post(body())
    caller.post(body())
    consuming("one").run_once(stopping)
    assert len(caller.rows()) == 2


def test_what_was_not_committed_is_stored_the_next_time(caller, consuming, redis_client, stopping):
    def fail(entries):
        raise psycopg.OperationalError("away")

    caller.post(body())
    with pytest.raises(psycopg.OperationalError):
        consuming("one", fail).run_once(stopping)
    assert redis_client.xlen(STREAM) == 1
    consuming("one")
    assert redis_client.xlen(STREAM) == 0
    assert len(caller.rows()) == 1


def test_what_was_committed_and_not_acknowledged_is_stored_once(
    caller, consuming, storing, stopping
):
    def die_after_the_commit(entries):
        storing.store(entries)
        raise ConnectionResetError

    caller.post(body(event(), event(timestamp="never")))
    with pytest.raises(ConnectionResetError):
        consuming("one", die_after_the_commit).run_once(stopping)
    consuming("one")
    assert len(caller.rows()) == 1
    assert len(caller.rejected()) == 1


@pytest.mark.parametrize(("dead", "alive"), [("a", "b"), ("b", "a")])
def test_entries_of_a_dead_consumer_are_taken_over(
    caller, consuming, stopping, monkeypatch, dead, alive
):
    def die(entries):
        raise ConnectionResetError

    caller.post(body())
    with pytest.raises(ConnectionResetError):
        consuming(dead, die).run_once(stopping)
    monkeypatch.setattr(consumer_module, "BLOCK", 1)
    assert consuming(alive).run_once(stopping) is False
    monkeypatch.setattr(consumer_module, "RECLAIM_AFTER", 0)
    assert consuming(alive).run_once(stopping) is True
    assert len(caller.rows()) == 1


def test_who_takes_over_entries_says_how_many(caller, consuming, stopping, said, monkeypatch):
    def die(entries):
        raise ConnectionResetError

    for _ in range(3):
        caller.post(body())
    with pytest.raises(ConnectionResetError):
        consuming("ended", die).run_once(stopping)
    assert said("adopted") == []
    with pytest.raises(ConnectionResetError):
        consuming("slow", die, is_gone=lambda name: name == "ended")
    assert said("adopted", "entries") == [("INFO", 3)]
    monkeypatch.setattr(consumer_module, "RECLAIM_AFTER", 0)
    assert consuming("alive", is_gone=lambda name: name == "ended").run_once(stopping)
    assert said("reclaimed", "entries") == [("INFO", 3)]
    assert len(said("adopted")) == 1
    assert len(caller.rows()) == 3


@pytest.mark.slow
def test_what_a_failover_brought_back_is_stored_without_a_restart(
    caller, consuming, redis_client, stopping, monkeypatch
):
    """The new primary has not heard of the last acknowledgments of the old one."""
    consumer = consuming("one")
    consumer.run_once(stopping)
    caller.post(body())
    redis_client.xreadgroup(keys.GROUP, "one", {STREAM: ">"})
    monkeypatch.setattr(consumer_module, "RECLAIM_EVERY", 0)
    assert consumer.run_once(stopping) is True
    assert redis_client.xlen(STREAM) == 0
    assert len(caller.rows()) == 1


def test_a_consumer_with_entries_is_never_forgotten(
    caller, consuming, redis_client, stopping, monkeypatch
):
    def die(entries):
        raise ConnectionResetError

    caller.post(body())
    with pytest.raises(ConnectionResetError):
        consuming("dead", die).run_once(stopping)
    consuming("idle")
    monkeypatch.setattr(consumer_module, "FORGET_AFTER", -1)
    monkeypatch.setattr(consumer_module, "BLOCK", 1)
    consuming("alive").run_once(stopping)
    names = {consumer["name"] for consumer in redis_client.xinfo_consumers(STREAM, keys.GROUP)}
    assert b"dead" in names
    assert b"idle" not in names


def test_an_event_that_postgres_refuses_stands_alone_in_rejected_events(
    caller, redis_client, settings
):
    for _ in range(3):
        caller.post(body(*(event() for _ in range(5))))
    (poisoned, fields), *_ = redis_client.xrange(STREAM, count=1)
    lines = fields[b"events"].split(b"\n")
    lines[2] = lines[2].replace(b"2024-01-15", b"2024-02-31")
    redis_client.xdel(STREAM, poisoned)
    redis_client.xadd(STREAM, {**fields, b"events": b"\n".join(lines)})

    assert len(caller.rows()) == 14
    assert redis_client.xlen(STREAM) == 0
    [row] = caller.rejected()
    assert row["code"] == "UNSTORABLE"
    assert row["shop_domain"] == "a-shop.myshopify.com"
    assert row["details"][0]["message"] == "DatetimeFieldOverflow: 22008"
    assert "2024-02-31" in row["payload"]


@pytest.mark.parametrize(
    "entry",
    [
        {"v": "1"},
        {"v": "0", "shop": "s", "batch": "", "events": "", "rejected": ""},
        {"v": "x", "shop": "s", "batch": "", "events": "", "rejected": ""},
        {"nonsense": b"\xff\x00"},
        {"v": "1", "shop": "s", "batch": "", "events": "zz", "rejected": ""},
    ],
)
def test_an_entry_that_cannot_be_read_does_not_stop_the_stream(caller, redis_client, entry):
    redis_client.xadd(STREAM, entry)
    caller.post(body())
    assert len(caller.rows()) == 1
    assert redis_client.xlen(STREAM) == 0
    [row] = caller.rejected()
    assert row["code"] == "UNREADABLE_ENTRY"


@pytest.mark.parametrize("rejected", ["{", "[]", '{"items":[{}]}', '{"items":[1]}'])
def test_rejected_events_that_cannot_be_read_do_not_stop_the_stream(caller, redis_client, rejected):
    caller.post(body())
    entry = {"v": "1", "shop": "s", "batch": "", "events": "", "rejected": rejected}
    redis_client.xadd(STREAM, entry)
    assert len(caller.rows()) == 1
    assert [row["payload"] for row in caller.rejected()] == [rejected]


def test_a_batch_whose_context_is_bad_takes_only_its_own_events_along(caller, redis_client):
    caller.post(body(event(), event()))
    (poisoned, fields), *_ = redis_client.xrange(STREAM, count=1)
    redis_client.xdel(STREAM, poisoned)
    redis_client.xadd(STREAM, {**fields, b"batch": fields[b"batch"].replace(b"{", b"}", 1)})
    caller.post(body())
    assert len(caller.rows()) == 1
    assert [row["code"] for row in caller.rejected()] == ["UNSTORABLE"] * 2


def test_a_missing_schema_gives_nothing_up(caller, settings, redis_client, empty_database_url):
    caller.post(body())
    with pytest.raises(psycopg.errors.UndefinedTable):
        drain(replace(settings, database_url=empty_database_url))
    assert redis_client.xlen(STREAM) == 1
    assert len(caller.rows()) == 1  # once the schema is there


def test_many_batches_share_a_transaction(caller, consuming, database, stopping):
    for _ in range(20):
        caller.post(body())
    consuming("one").run_once(stopping)
    transactions = database.execute("SELECT count(DISTINCT xmin::text) FROM events").fetchone()
    assert transactions == (1,)


def test_a_backlog_is_stored_in_several_transactions_at_once(
    caller, consuming, storing, redis_client, stopping, two_at_a_time
):
    together = threading.Barrier(2, timeout=10)

    def store(batches):
        together.wait()  # breaks where one waits for the other to end
        storing.store(batches)

    for _ in range(4):
        caller.post(body())
    stopping.clear()
    assert consuming("one", store).run_once(stopping) is True
    assert redis_client.xlen(STREAM) == 0
    assert len(caller.rows()) == 4


@pytest.mark.slow
def test_of_a_backlog_that_fails_in_part_every_event_is_stored_once(
    caller, consuming, storing, redis_client, stopping, two_at_a_time
):
    turns = itertools.count()

    def fail_once(batches):
        if next(turns) == 1:
            raise psycopg.OperationalError("away")
        storing.store(batches)

    for _ in range(9):
        caller.post(body())
    stopping.clear()
    consumer = consuming("one", fail_once)
    with pytest.raises(psycopg.OperationalError):
        consumer.run_once(stopping)
    assert redis_client.xlen(STREAM) > 0
    consumer.let_go()
    consumer.run_once(stopping)
    assert redis_client.xlen(STREAM) == 0
    assert len(caller.rows()) == 9


def test_rejected_payloads_are_kept_as_sent(caller):
    odd = event(insert_id=["\ud83d\0", 1.5, None])
    caller.post(body(event(), odd))
    [row] = caller.rejected()
    assert json.loads(row["payload"])["$insert_id"] == ["\ufffd\ufffd", 1.5, None]


def names(redis_client):
    return {one["name"] for one in redis_client.xinfo_consumers(STREAM, keys.GROUP)}


def test_a_consumer_that_stopped_well_leaves_and_others_stay(
    caller, consuming, redis_client, stopping, monkeypatch
):
    monkeypatch.setattr(consumer_module, "BLOCK", 1)
    caller.post(body())
    one, other = consuming("one"), consuming("other")
    one.run_once(stopping)
    other.run_once(stopping)
    one.leave()
    assert names(redis_client) == {b"other"}


def test_a_consumer_with_entries_does_not_leave(caller, consuming, redis_client, stopping):
    def die(entries):
        raise ConnectionResetError

    caller.post(body())
    consumer = consuming("one", die)
    with pytest.raises(ConnectionResetError):
        consumer.run_once(stopping)
    consumer.leave()
    assert names(redis_client) == {b"one"}
    consuming("one")
    assert len(caller.rows()) == 1


def test_without_work_a_server_is_waited_at_and_a_cluster_asked_ten_times_a_second(
    caller, consuming, monkeypatch
):
    monkeypatch.setattr(consumer_module, "BLOCK", 1)
    waits = Pauses()
    consuming("one").run_once(waits)
    assert waits.noted == []  # the command itself has waited
    consuming("two", is_cluster=lambda: True).run_once(waits)
    assert waits.noted == [0.1]
    waits.noted.clear()
    caller.post(body())
    consuming("two", is_cluster=lambda: True).run_once(waits)
    assert waits.noted == [0.25]  # for more that share the transaction


def test_of_one_that_ended_its_entries_are_taken_over_and_nobody_else_s(
    caller, consuming, redis_client, stopping
):
    def die(entries):
        raise ConnectionResetError

    for name in ("alive", "ended", "alive-too"):
        caller.post(body())
        with pytest.raises(ConnectionResetError):
            consuming(name, die).run_once(stopping)
    consuming("new", is_gone=lambda name: name == "ended")
    pending = {
        one["name"].decode(): one["pending"]
        for one in redis_client.xinfo_consumers(STREAM, keys.GROUP)
    }
    assert pending == {"alive": 1, "ended": 0, "alive-too": 1, "new": 0}
    assert redis_client.xlen(STREAM) == 2
    assert len(caller.rows()) == 1
