"""Which journal takes a batch, with real servers that are there or away."""

import threading
from collections import Counter
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from app.dev.servers import VALKEY_CONFIG
from tests.calls import body, event
from tests.draining import drain
from tests.processes.running import wait_until

SUCCESS = b'{"success":true}'
NO_POSTGRES = "postgresql://127.0.0.1:1/nowhere"
NO_REDIS = "redis://127.0.0.1:1"
NO_FOLDER = "/dev/null/spool"


@pytest.fixture
def not_persistent(redis_client):
    redis_client.config_set("appendonly", "no")
    yield
    redis_client.config_set("appendonly", VALKEY_CONFIG["appendonly"])


def backlog(redis_client):
    return redis_client.xlen("{t0}:stream")


def test_auto_takes_the_stream_where_redis_is_persistent(calling, redis_client):
    caller = calling()
    assert caller.post(body()).data == SUCCESS
    assert (backlog(redis_client), len(caller.rows())) == (1, 0)


def test_auto_takes_the_store_where_redis_keeps_nothing(calling, redis_client, not_persistent):
    caller = calling()
    assert caller.post(body()).data == SUCCESS
    assert (backlog(redis_client), len(caller.rows())) == (0, 1)


def test_stream_takes_the_stream_all_the_same(calling, redis_client, not_persistent):
    caller = calling(intake="stream")
    assert caller.post(body()).data == SUCCESS
    assert (backlog(redis_client), len(caller.rows())) == (1, 0)


def test_store_takes_the_store_all_the_same(calling, redis_client):
    caller = calling(intake="store")
    assert caller.post(body()).data == SUCCESS
    assert (backlog(redis_client), len(caller.rows())) == (0, 1)


@pytest.mark.parametrize("intake", ["auto", "stream", "store"])
def test_without_redis_the_store_takes_over(calling, intake):
    caller = calling(intake=intake, redis_url=NO_REDIS)
    batch = body(event(), event(timestamp="late"))
    assert caller.post(batch).json["accepted"] == 1
    assert caller.post(batch).json["accepted"] == 1
    assert len(caller.rows()) == 1
    assert len(caller.rejected()) == 2


@pytest.mark.parametrize("intake", ["auto", "stream"])
def test_without_postgres_the_stream_takes_it(calling, redis_client, intake):
    assert calling(intake=intake, database_url=NO_POSTGRES).post(body()).data == SUCCESS
    assert backlog(redis_client) == 1


def test_the_store_alone_without_postgres_stores_nothing_and_marks_nothing(calling):
    batch = body()
    alone = calling(intake="store", database_url=NO_POSTGRES, spool_dir=NO_FOLDER)
    reply = alone.post(batch)
    assert (reply.status_code, reply.json["code"]) == (200, "NOT_STORED")
    # The retry is stored: a mark before the commit would have lost it.
    caller = calling(intake="store")
    assert caller.post(batch).data == SUCCESS
    assert len(caller.rows()) == 1


def test_a_full_stream_leaves_it_to_the_store(calling, redis_client):
    caller = calling(stream_max_batches=1)
    caller.post(body())
    assert caller.post(body()).data == SUCCESS
    assert (backlog(redis_client), len(caller.rows())) == (1, 1)


def test_the_store_filters_by_what_was_seen(calling, redis_client, database_url):
    caller = calling(intake="store")
    batch = body(event(), event())
    caller.post(batch)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("TRUNCATE events, stored_batches")
    assert caller.post(batch).data == SUCCESS
    assert caller.rows() == []


@pytest.mark.parametrize("intake", ["stream", "store"])
def test_emptied_redis_stores_nothing_twice(calling, settings, redis_client, intake):
    caller = calling(intake=intake)
    batch = body(event(), event())
    caller.post(batch)
    drain(settings)
    redis_client.flushall()
    batch["events"].append(event())
    assert caller.post(batch).data == SUCCESS
    drain(settings)
    assert len(caller.rows()) == 3
    assert len(caller.rows("batches", "id")) == 2


def test_a_batch_without_news_leaves_no_row_behind(calling, redis_client):
    caller = calling(intake="store")
    batch = body()
    caller.post(batch)
    redis_client.flushall()
    assert caller.post(batch).data == SUCCESS
    assert len(caller.rows("batches", "id")) == 1


def test_every_event_is_counted_once(calling, redis_client):
    counts = Counter()
    twice = event()
    for intake in ("stream", "store"):
        caller = calling(intake=intake)
        caller.post(body(event(), twice, twice, event(timestamp=None)))
        caller.post(raw=b"{")
        caller.post(body(), query_string="")
        counts.update(caller.outcomes())
    totals = redis_client.hgetall("{t0}:counts:total")
    counts.update({name.decode(): int(number) for name, number in totals.items()})
    assert counts == {
        "accepted": 3,
        "duplicate": 3,
        "rejected": 4,
        "signature:missing:shop": 2,
    }


@pytest.mark.parametrize("intake", ["stream", "store"])
@pytest.mark.parametrize("years", [-1, 1], ids=["an old date", "a clock ahead"])
def test_the_same_id_with_other_times_at_once_is_stored_once(calling, settings, intake, years):
    caller = calling(intake=intake)
    start = datetime.now(UTC) + timedelta(days=365 * years)
    barrier, replies = threading.Barrier(8), []

    def send(number):
        moment = (start + timedelta(seconds=number)).isoformat()
        barrier.wait()
        replies.append(caller.post(body(event(insert_id="x", timestamp=moment))).data)

    threads = [threading.Thread(target=send, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    drain(settings)
    assert replies == [SUCCESS] * 8
    assert len(caller.rows()) == 1


def test_a_claim_is_let_go_of_where_the_store_fails(calling, redis_client):
    batch = body()
    calling(intake="store", database_url=NO_POSTGRES, spool_dir=NO_FOLDER).post(batch)
    assert redis_client.keys("{t0}:claim:*") == []


def test_that_a_journal_fails_and_works_again_is_said_once_with_its_name(
    calling, redis_client, caplog
):
    caplog.set_level("INFO")  # before the stream is well again: a probe may be the one that says so
    caller = calling(intake="stream")
    redis_client.set("{t0}:stream", "not a stream")
    caller.post(body())
    caller.post(body())
    redis_client.delete("{t0}:stream")

    def said():
        caller.post(body())
        told = [(getattr(one, "action", ""), getattr(one, "journal", "")) for one in caplog.records]
        return [pair for pair in told if pair[0].startswith("journal_")]

    wait_until(lambda: ("journal_back", "stream") in said())
    assert said()[:2] == [("journal_paused", "stream"), ("journal_back", "stream")]
