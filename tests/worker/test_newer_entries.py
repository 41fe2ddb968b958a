"""Entries of a newer release wait for its worker, and hold nothing up."""

from contextlib import suppress

import pytest

from app.batch import batch as batch_module
from app.batch.batch import BATCH_COLUMNS, FORM
from app.intake import keys
from app.worker import consumer as consumer_module
from tests.calls import body, event

STREAM = "{t0}:stream"


def of_a_newer_release(redis_client):
    """Give what waits a column that this release does not know."""
    for entry, fields in redis_client.xrange(STREAM):
        redis_client.xdel(STREAM, entry)
        redis_client.xadd(STREAM, {**fields, b"batch": fields[b"batch"] + b"\t/path"})


@pytest.fixture
def newer_release(monkeypatch):
    """Makes this process one that can read them, and drops the column."""
    form = FORM._replace(batch_columns=FORM.batch_columns + 1)

    def upgrade():
        monkeypatch.setattr(batch_module, "FORM", form)
        monkeypatch.setattr(consumer_module, "FORM", form)

    return upgrade


@pytest.mark.slow
def test_entries_of_a_newer_release_stay_and_hold_nothing_up(
    caller, consuming, redis_client, stopping, monkeypatch, caplog
):
    monkeypatch.setattr(consumer_module, "BLOCK", 1)
    monkeypatch.setattr(consumer_module, "RECLAIM_EVERY", 0)
    for _ in range(3):
        caller.post(body())
    of_a_newer_release(redis_client)
    caller.post(body(event(insert_id="known")))
    workers = [consuming("one"), consuming("two")]
    assert workers[0].run_once(stopping) is True
    for worker in workers * 3:  # set aside, it is not read again
        worker.let_go()
        assert worker.run_once(stopping) is False
    assert [row["insert_id"] for row in caller.rows()] == ["known"]
    assert caller.rejected() == []
    assert redis_client.xlen(STREAM) == 3
    pending = redis_client.xpending_range(STREAM, keys.GROUP, "-", "+", 10)
    assert {entry["consumer"] for entry in pending} == {
        f"newer:1.{len(BATCH_COLUMNS) + 1}.7".encode()
    }
    told = [one for one in caplog.records if getattr(one, "action", "") == "newer_entries"]
    assert len(told) == 1


def test_a_newer_worker_takes_what_an_older_one_left_at_once(
    caller, consuming, redis_client, stopping, newer_release, storing
):
    caller.post(body(event(insert_id="a"), event(insert_id="b")))
    of_a_newer_release(redis_client)
    consuming("old").run_once(stopping)
    lines = []
    newer_release()
    consuming("new", lambda batches: lines.extend(batch.line for batch in batches)).run_once(
        stopping
    )
    assert [line.endswith(b"\t/path") for line in lines] == [True]
    assert redis_client.xlen(STREAM) == 0
    assert redis_client.xpending(STREAM, keys.GROUP)["pending"] == 0


@pytest.mark.slow
def test_what_a_newer_worker_has_read_and_left_is_set_aside_by_an_older_one(
    caller, consuming, redis_client, stopping, monkeypatch
):
    def die(batches):
        raise ConnectionResetError

    caller.post(body())
    of_a_newer_release(redis_client)
    new = consuming("new", die)
    with monkeypatch.context() as patch:
        patch.setattr(batch_module, "FORM", FORM._replace(batch_columns=FORM.batch_columns + 1))
        with pytest.raises(ConnectionResetError):
            new.run_once(stopping)
    old = consuming("old", is_gone=lambda name: name == "new")
    assert caller.rejected() == []
    assert redis_client.xlen(STREAM) == 1
    assert dict(old._consumers(STREAM))["new"] == 0


def test_entries_set_aside_do_not_keep_those_of_the_dead_waiting(
    caller, consuming, redis_client, stopping, two_at_a_time, monkeypatch
):
    def die(batches):
        raise ConnectionResetError

    for _ in range(8):
        caller.post(body())
    of_a_newer_release(redis_client)
    consuming("old").run_once(stopping)
    caller.post(body(event(insert_id="known")))
    monkeypatch.setattr(consumer_module, "BLOCK", 1)
    dead = consuming("dead", die)
    while redis_client.xinfo_groups(STREAM)[0]["lag"]:
        with suppress(ConnectionResetError):
            dead.run_once(stopping)
    monkeypatch.setattr(consumer_module, "RECLAIM_AFTER", 0)
    consuming("alive").run_once(stopping)
    assert [row["insert_id"] for row in caller.rows()] == ["known"]
    assert redis_client.xlen(STREAM) == 8
