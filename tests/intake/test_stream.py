"""The intake script on a real server."""

import time
from datetime import UTC, datetime

import pytest
from redis import RedisError

from app.batch import batch as batch_module
from app.batch.batch import (
    BATCH_COLUMNS,
    EVENT_COLUMNS,
    Batch,
    Context,
    Event,
    Rejected,
    UnreadableEntry,
    digest,
)
from app.batch.form import Form, NewerEntry
from app.intake import keys
from app.intake.backlog import LARGE, remove, size_of
from app.intake.breaker import CircuitBreaker
from app.intake.limits import Limits
from app.intake.memory import Bounds
from app.intake.outcomes import Outcomes
from app.intake.redis_client import client_of
from app.intake.stream import Stream, StreamFull
from app.intake.submission import Submission
from app.intake.waiting import run

SHOP = "a-shop.myshopify.com"
WINDOW = 1_000  # s
MAX_BYTES = 5_000
SIZES = keys.size("{t0}:stream")


@pytest.fixture
def outcomes():
    return Outcomes()


@pytest.fixture
def ours(redis_url):
    """The product's client."""
    with client_of(redis_url, 0.5) as client:
        yield client


def make_stream(client, outcomes, *, max_bytes):
    return Stream(
        client,
        outcomes,
        breaker=CircuitBreaker(),
        partitions=1,
        max_batches=3,
        bounds=Bounds(max_bytes),
        dedup_window=WINDOW,
        limits=Limits(),
    )


@pytest.fixture
def stream(ours, outcomes):
    return make_stream(ours, outcomes, max_bytes=MAX_BYTES)


def submission(*ids, rejected=0, shop=SHOP, size=100, properties=b"{}"):
    moment = datetime(2024, 1, 15, tzinfo=UTC)
    return Submission.build(
        shop=shop,
        customer_id=None,
        received_at=datetime.now(UTC),
        context=Context(),
        events=[Event("widget:button_click", id_, moment, properties, b"{}") for id_ in ids],
        rejected=[Rejected(0, "VALIDATION_FAILED", [], "{}")] * rejected,
        size=size,
    )


def append(stream, submission):
    return run(stream.append(submission))


def waiting(redis_client):
    """The ids of the events in the stream, entry by entry."""
    return [
        [line.split(b"\t")[4].decode() for line in Batch.from_entry(fields).events]
        for _, fields in redis_client.xrange("{t0}:stream")
    ]


def counts(redis_client):
    found = redis_client.hgetall(keys.counts(0, time.time()))
    return {name.decode(): int(number) for name, number in found.items()}


def test_new_events_wait_in_one_entry(stream, redis_client):
    assert append(stream, submission("a", "b")) == 0
    assert waiting(redis_client) == [["a", "b"]]


def test_only_what_is_new_is_appended(stream, redis_client):
    append(stream, submission("a", "b"))
    assert append(stream, submission("b", "c", "a")) == 2
    assert append(stream, submission("a", "b", "c")) == 3
    assert waiting(redis_client) == [["a", "b"], ["c"]]


def test_a_full_stream_takes_and_marks_nothing(stream, redis_client):
    for number in range(3):
        append(stream, submission(f"id-{number}"))
    with pytest.raises(StreamFull):
        append(stream, submission("late"))
    redis_client.delete("{t0}:stream")
    assert append(stream, submission("late")) == 0


def test_a_stream_is_full_in_bytes_too(stream, redis_client):
    append(stream, submission("a", properties=b'{"a":"%b"}' % (b"x" * MAX_BYTES)))
    with pytest.raises(StreamFull):
        append(stream, submission("late"))
    redis_client.delete("{t0}:stream")  # as a previous release empties it, without its size
    assert append(stream, submission("late")) == 0
    assert append(stream, submission("later")) == 0


def taken_out(redis_client, sizes):
    [(_, number)] = remove(redis_client, {"{t0}:stream": sizes})
    return number


def test_the_size_of_what_waits_is_known(stream, redis_client):
    def counted():
        large, size = divmod(int(redis_client.get(SIZES)), 2**40)
        return {"bytes": size, "large": large}

    append(stream, submission("a", "b", rejected=1))
    append(stream, submission("a", "c"))
    append(stream, submission("d", properties=b'"%b"' % (b"x" * LARGE)))
    entries = redis_client.xrange("{t0}:stream")
    sizes = {id_: size_of(fields) for id_, fields in entries}
    assert counted() == {"bytes": sum(sizes.values()), "large": 1}
    ids = list(sizes)
    assert taken_out(redis_client, {ids[0]: sizes[ids[0]]}) == 1
    assert taken_out(redis_client, {ids[0]: sizes[ids[0]]}) == 0
    assert counted() == {"bytes": sizes[ids[1]] + sizes[ids[2]], "large": 1}
    assert taken_out(redis_client, {ids[2]: sizes[ids[2]]}) == 1
    assert counted() == {"bytes": sizes[ids[1]], "large": 0}
    assert taken_out(redis_client, {ids[1]: sizes[ids[1]]}) == 1
    assert redis_client.exists(SIZES) == 0


@pytest.mark.parametrize(("beyond", "large"), [(-1, 0), (0, 1)])
def test_an_entry_of_64_kib_is_a_large_one(ours, redis_client, outcomes, beyond, large):
    stream = make_stream(ours, outcomes, max_bytes=10 * LARGE)
    append(stream, submission("a", properties=b'{"a":""}'))
    [(id_, fields)] = redis_client.xrange("{t0}:stream")
    rest = size_of(fields)
    taken_out(redis_client, {id_: rest})
    append(stream, submission("b", properties=b'{"a":"%b"}' % (b"x" * (LARGE + beyond - rest))))
    assert int(redis_client.get(SIZES)) == large * 2**40 + LARGE + beyond


def test_what_a_previous_release_has_added_is_taken_out_without_harm(stream, redis_client):
    append(stream, submission("a"))
    redis_client.xadd("{t0}:stream", submission("b", "c").batch.to_entry())
    _, second = redis_client.xrange("{t0}:stream")
    assert taken_out(redis_client, {second[0]: size_of(second[1])}) == 1
    assert 0 <= int(redis_client.get(SIZES)) < 2**40


def test_rejected_events_travel_with_the_batch(stream, redis_client):
    append(stream, submission("a", rejected=2))
    append(stream, submission(rejected=1))
    entries = [fields for _, fields in redis_client.xrange("{t0}:stream")]
    assert [bool(entry[b"rejected"]) for entry in entries] == [True, True]
    assert entries[1][b"events"] == b""


def test_seen_ids_are_digests_in_a_set_that_expires(stream, redis_client):
    append(stream, submission("a"))
    [key] = redis_client.keys("{t0}:seen:*")
    assert redis_client.smembers(key) == {digest("a")}
    assert len(digest("a")) == 16
    assert WINDOW < redis_client.ttl(key) <= WINDOW * 3 / 2


def test_the_lifetime_of_a_set_is_not_refreshed(stream, redis_client):
    append(stream, submission("a"))
    [key] = redis_client.keys("{t0}:seen:*")
    redis_client.expire(key, 5)
    append(stream, submission("b"))
    assert redis_client.ttl(key) <= 5


def test_of_a_shop_that_sends_too_many_ids_the_oldest_are_forgotten(ours, redis_client, outcomes):
    stream = Stream(
        ours,
        outcomes,
        breaker=CircuitBreaker(),
        partitions=1,
        max_batches=10**6,
        bounds=Bounds(10**9, seen_ids=10),
        dedup_window=WINDOW,
        limits=Limits(),
    )
    for number in range(0, 100, 5):
        append(stream, submission(*map(str, range(number, number + 5))))
    append(stream, submission("0", shop="another.myshopify.com"))
    sets = redis_client.keys(f"{{t0}}:seen:{SHOP}:*")
    assert sum(map(redis_client.scard, sets)) <= 3 * 10
    assert all(WINDOW < redis_client.ttl(key) <= WINDOW * 3 / 2 for key in sets)
    assert append(stream, submission(*map(str, range(85, 100)))) == 15
    assert append(stream, submission("0", shop="another.myshopify.com")) == 1


def test_ids_are_remembered_across_buckets_for_a_window(stream, redis_client, monkeypatch):
    now = time.time()
    monkeypatch.setattr("app.intake.stream.time.time", lambda: now)
    append(stream, submission("a"))
    now += WINDOW
    assert append(stream, submission("a")) == 1
    now += WINDOW
    assert append(stream, submission("a")) == 0


def test_shops_do_not_share_ids(stream):
    append(stream, submission("a"))
    assert append(stream, submission("a", shop="another.myshopify.com")) == 0


def test_outcomes_are_counted_with_what_waited(stream, redis_client, outcomes):
    outcomes.count({"signature:stale": 2})
    append(stream, submission("a", "b", "b", rejected=1))
    append(stream, submission("a"))
    assert counts(redis_client) == {
        "accepted": 2,
        "duplicate": 2,
        "rejected": 1,
        "signature:stale": 2,
    }
    assert redis_client.hgetall(keys.total(0)) == redis_client.hgetall(keys.counts(0, time.time()))
    assert outcomes.take() == {}


def test_counts_that_did_not_arrive_are_kept(outcomes):
    with client_of("redis://127.0.0.1:1", 0.5) as nowhere:
        stream = Stream(
            nowhere,
            outcomes,
            breaker=CircuitBreaker(),
            partitions=1,
            max_batches=3,
            bounds=Bounds(MAX_BYTES),
            dedup_window=WINDOW,
            limits=Limits(),
        )
        outcomes.count({"fault": 1})
        with pytest.raises(RedisError):
            append(stream, submission("a"))
    assert outcomes.take() == {"fault": 1}


def test_the_script_is_loaded_again_after_a_restart(stream, redis_client):
    append(stream, submission("a"))
    redis_client.script_flush()
    assert append(stream, submission("b")) == 0


def test_a_key_of_another_type_takes_nothing(stream, redis_client):
    redis_client.set(keys.seen(0, SHOP, time.time(), WINDOW)[0], "not a set")
    with pytest.raises(RedisError):
        append(stream, submission("a"))
    assert waiting(redis_client) == []


def test_each_shop_has_one_partition_and_all_its_keys_there(ours, redis_client, outcomes):
    stream = Stream(
        ours,
        outcomes,
        breaker=CircuitBreaker(),
        partitions=4,
        max_batches=100,
        bounds=Bounds(MAX_BYTES),
        dedup_window=WINDOW,
        limits=Limits(),
    )
    shops = [f"shop-{number}.myshopify.com" for number in range(40)]
    for shop in shops:
        append(stream, submission("a", shop=shop))
        assert append(stream, submission("a", shop=shop)) == 1
    tags = {key.split(b":")[0] for key in redis_client.keys("*")}
    assert tags == {b"{t0}", b"{t1}", b"{t2}", b"{t3}"}
    assert sum(redis_client.xlen(keys.stream(number)) for number in range(4)) == 40


def test_an_entry_is_read_as_it_was_written():
    sent = submission("a", "b\\N", rejected=1).batch
    read = Batch.from_entry(sent.to_entry())
    assert (read.shop, read.line, read.events, read.keys, read.rejected) == (
        sent.shop, sent.line, sent.events, sent.keys, sent.rejected,
    )  # fmt: skip


@pytest.mark.parametrize(
    "change", [{b"v": b"x"}, {b"events": b"x"}, {b"events": b"a\tzz"}, {b"shop": b"\xff"}]
)
def test_of_a_damaged_entry_it_is_said_that_it_is_unreadable(change):
    with pytest.raises(UnreadableEntry):
        Batch.from_entry({**submission("a").batch.to_entry(), **change})
    with pytest.raises(UnreadableEntry):
        Batch.from_entry({b"v": b"1"})


@pytest.mark.parametrize(
    "change",
    [
        lambda entry: {b"v": b"2"},
        lambda entry: {b"batch": entry[b"batch"] + b"\tmore"},
        lambda entry: {b"events": entry[b"events"].replace(b"\n", b"\tmore\n") + b"\tmore"},
    ],
)
def test_an_entry_of_a_newer_release_is_not_taken_for_a_damaged_one(change):
    entry = submission("a", "b").batch.to_entry()
    with pytest.raises(NewerEntry):
        Batch.from_entry({**entry, **change(entry)})
    with pytest.raises(NewerEntry):
        Batch.from_entry({b"v": b"2", b"shop": b"s"})


def test_an_entry_of_an_older_release_is_completed_with_nulls(monkeypatch):
    entry = submission("a", "b").batch.to_entry()
    newer = Form(batch_module.VERSION, len(BATCH_COLUMNS) + 2, len(EVENT_COLUMNS) + 1)
    monkeypatch.setattr(batch_module, "FORM", newer)
    read = Batch.from_entry(entry)
    assert read.line == entry[b"batch"] + b"\t\\N\t\\N"
    assert read.events == [line + b"\t\\N" for line in entry[b"events"].split(b"\n")]
