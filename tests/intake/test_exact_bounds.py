"""Where the intake's bounds lie: what is just within, and what is just beyond."""

import socket
import time
from collections import Counter

import pytest

from app.intake import backlog, keys, memory
from app.intake.backlog import LARGE, bytes_waiting, entries_at_once, remove, size_of
from app.intake.limits import Allowance, Limits, seconds_to_next_minute
from app.intake.memory import Bounds, Keeper, memory_of
from app.intake.nodes import Nodes
from app.intake.outcomes import EVENTS, Outcomes, with_received
from app.intake.reserve import Reserve
from app.intake.spool_notice import SpoolNotice, waits_since_before
from tests.intake.test_stream import submission

STREAM = "{t0}:stream"
MIB = 1024 * 1024
HOUR = 60 * 60


@pytest.mark.parametrize(("now", "left"), [(60.0, 60), (61.9, 59), (119.0, 1), (119.99, 1)])
def test_who_is_limited_comes_again_in_the_next_minute(now, left):
    assert seconds_to_next_minute(now) == left
    assert keys.rate(0, "s", now) != keys.rate(0, "s", now + left)
    assert keys.rate(0, "s", now) == keys.rate(0, "s", now + left - 1)


@pytest.mark.parametrize(
    ("limit", "share"), [(0, 0), (1, 1), (9, 1), (10, 1), (19, 1), (20, 2), (1_000, 100)]
)
def test_a_tenth_of_a_limit_is_at_least_one(limit, share):
    assert Allowance(limit, 0).share() == (share, 0)
    assert Allowance(0, limit).share() == (0, share)


@pytest.mark.parametrize(("size", "units"), [(0, 0), (1, 1), (64, 1), (65, 2), (640, 10)])
def test_bytes_are_charged_in_units_of_64(size, units):
    sent = submission("a", "b", size=size)
    charges = Limits(shop=Allowance(7, 6_400)).of(sent, 0, 60.0)
    of_shop = charges.args[-3:]
    assert of_shop == [2 + 2**22 * units, 7, 100]


def test_what_has_no_limit_has_one_that_no_minute_reaches():
    assert Limits(shop=Allowance(7, 0)).of(submission("a"), 0, 60.0).args[-2:] == [7, 2**31]
    assert Limits(shop=Allowance(0, 64)).of(submission("a"), 0, 60.0).args[-2:] == [2**22, 1]
    charges = Limits().of(submission("a", rejected=1), 0, 60.0)
    assert (charges.counters, charges.valid, charges.rejected) == ([], 0, 0)


def test_counters_are_asked_in_order_the_visitors_first():
    sent = submission("a", "b", rejected=3)
    sent.visitor = "v"
    charges = Limits(Allowance(100), Allowance(10), rejected=5).of(sent, 0, 60.0)
    names = [name.split(":", 3)[-1] for name in charges.counters]
    assert [name.rsplit(":", 1)[-1] for name in names] == ["v", "", "rejected"]
    assert (charges.valid, charges.rejected) == (2, 1)
    assert [charges.args[place] for place in (1, 4, 7)] == [10, 100, 5]
    assert [charges.args[place] % 2**22 for place in (0, 3, 6)] == [2, 2, 3]


@pytest.mark.parametrize("window", [100, 101, 172_800])
def test_an_id_is_found_for_a_whole_window_and_its_set_lives_as_long(window):
    marked = 1_700_000_000.0
    for offset in range(0, window, max(1, window // 50)):
        at = marked + offset
        [current, *_] = keys.seen(0, "s", at, window)
        assert current in keys.seen(0, "s", at + window - 1, window)
        assert current not in keys.seen(0, "s", at + 2 * window, window)
        assert len(keys.seen(0, "s", at, window)) == 3
    assert keys.seen_lifetime(window) == window + -(-window // 2)


def test_days_are_those_of_utc():
    day = 24 * HOUR
    for seconds in (0, day - 1):
        assert keys.counts(3, 1_699_920_000 + seconds) == "{t3}:counts:2023-11-14"
    assert keys.counts(3, 1_699_920_000 + day) == "{t3}:counts:2023-11-15"


# How much is read at once.


def test_few_entries_are_read_at_once_while_a_large_one_waits(redis_client):
    assert entries_at_once(redis_client, [STREAM]) == 100
    redis_client.set(keys.size(STREAM), 2**40 - 1)
    assert entries_at_once(redis_client, [STREAM]) == 100
    redis_client.set(keys.size(STREAM), 2**40)
    assert entries_at_once(redis_client, [STREAM]) == 4
    assert entries_at_once(redis_client, ["{t1}:stream", "{t2}:stream"]) == 100
    assert entries_at_once(redis_client, ["{t1}:stream", STREAM]) == 4


def test_the_bytes_that_wait_are_added_up_without_the_number_of_large_ones(redis_client):
    redis_client.set(keys.size(STREAM), 2**40 * 3 + 70)
    redis_client.set(keys.size("{t1}:stream"), 5)
    assert bytes_waiting(redis_client, [STREAM]) == 70
    assert bytes_waiting(redis_client, [STREAM, "{t1}:stream", "{t2}:stream"]) == 75


@pytest.mark.parametrize("is_script_known", [True, False])
def test_what_is_taken_out_takes_its_size_along(redis_client, is_script_known):
    redis_client.xgroup_create(STREAM, keys.GROUP, "0", mkstream=True)
    sizes, total = {}, 0
    for size in (10, LARGE - 1, LARGE, 20):
        fields = {b"a": b"x" * size}
        id_ = redis_client.xadd(STREAM, fields)
        assert size_of(fields) == size
        sizes[id_] = size
        total += size + (2**40 if size >= LARGE else 0)
    redis_client.set(keys.size(STREAM), total)
    if not is_script_known:
        redis_client.script_flush()
    ids = list(sizes)
    assert remove(redis_client, {STREAM: {ids[2]: LARGE}}) == [(STREAM, 1)]
    assert int(redis_client.get(keys.size(STREAM))) == total - 2**40 - LARGE
    assert remove(redis_client, {STREAM: {ids[0]: 10, "1-1": 10}}) == [(STREAM, 1)]
    assert int(redis_client.get(keys.size(STREAM))) == 20 + LARGE - 1
    assert remove(redis_client, {STREAM: {"1-1": 99}}) == [(STREAM, 0)]
    assert int(redis_client.get(keys.size(STREAM))) == 20 + LARGE - 1
    assert remove(redis_client, {STREAM: {ids[1]: 10 * LARGE}}) == [(STREAM, 1)]
    assert int(redis_client.get(keys.size(STREAM))) == 0  # never below
    assert remove(redis_client, {STREAM: {ids[3]: 20}}) == [(STREAM, 1)]
    assert redis_client.get(keys.size(STREAM)) is None


def test_no_command_takes_out_more_than_a_hundred(redis_client):
    sizes = {}
    for partition, number in ((0, 150), (1, 60)):
        stream = keys.stream(partition)
        redis_client.xgroup_create(stream, keys.GROUP, "0", mkstream=True)
        sizes[stream] = {redis_client.xadd(stream, {b"a": b"x"}): 1 for _ in range(number)}
    parts = list(backlog._parts(sizes))
    assert [[len(some) for _, some in part] for part in parts] == [[100], [50, 50], [10]]
    assert sum(number for _, number in remove(redis_client, sizes)) == 210


# Memory.


class SomeRedis:
    """One that uses so much of so much memory: no test can fill a server to the byte."""

    def __init__(self, used, limit, **more):
        self.told = {"used_memory": used, "maxmemory": limit, "maxmemory_policy": "noeviction"}
        self.told |= more

    def info(self, section):
        assert section == "memory"
        return self.told


@pytest.mark.parametrize(
    ("server", "wanted"),
    [
        (SomeRedis(95, 100), (95, 100, False)),
        (SomeRedis(96, 100), (96, 100, True)),
        (SomeRedis(96, 100, maxmemory_policy="allkeys-lru"), (96, 100, False)),
        (SomeRedis(96, 100, mem_not_counted_for_evict=6), (90, 100, False)),
        (SomeRedis(96, 0, total_system_memory=100), (96, 50, False)),
        (SomeRedis(96, 0), (96, 0, False)),
    ],
)
def test_a_redis_is_full_a_little_before_it_refuses(server, wanted):
    assert memory_of(server) == wanted


@pytest.mark.parametrize(("used", "number"), [(800, None), (801, (801 - 700) // 40)])
def test_ids_are_forgotten_beyond_four_fifths_down_to_seven_tenths(monkeypatch, used, number):
    asked = []
    monkeypatch.setattr(Keeper, "_forget", lambda self, surplus: asked.append(surplus) or 1)
    bounds = Bounds(10**9)
    Keeper(SomeRedis(used, 1_000), bounds, Outcomes()).keep()
    assert asked == ([] if number is None else [number])
    assert (bounds.stream_bytes, bounds.seen_ids) == (500, 1)
    Keeper(SomeRedis(0, 6_400_000), bounds, Outcomes()).keep()
    assert bounds.seen_ids == 10_000


def test_it_looks_once_a_second_and_searches_every_ten_where_nothing_was_found(monkeypatch):
    now, asked = [1_000.0], []
    monkeypatch.setattr(memory.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(Keeper, "_forget", lambda self, surplus: asked.append(now[0]) or 0)
    server = SomeRedis(900, 1_000)
    keeper = Keeper(server, Bounds(10**9), Outcomes())
    looks = []
    server.info = lambda section: looks.append(now[0]) or server.told
    for tenth in range(0, 211):
        now[0] = 1_000 + tenth / 10
        keeper.keep()
    assert looks == [1_000.0 + second for second in range(22)]
    assert asked == [1_000.0, 1_010.0, 1_020.0]


@pytest.mark.parametrize(
    ("free", "holds"),
    [(400 * MIB, 4 * MIB), (16 * MIB, 4 * MIB), (8 * MIB, 2 * MIB), (256 * 1024, 64 * 1024),
     (256 * 1024 - 4096, 0), (0, 0)],
)  # fmt: skip
def test_the_spool_s_reserve_is_a_quarter_of_a_small_disk(tmp_path, monkeypatch, free, holds):
    class Disk:
        f_bavail, f_frsize = free // 4096, 4096

    monkeypatch.setattr("app.intake.reserve.os.statvfs", lambda _: Disk)
    reserve = Reserve(tmp_path)
    assert (reserve.held(), reserve.may_hold()) == (None, holds)
    if not holds:
        with pytest.raises(OSError, match="No space left"):
            reserve.take()
        return
    reserve.take()
    assert reserve.held() == holds
    assert (tmp_path / "spool.reserve").stat().st_mode & 0o777 == 0o600
    reserve.let_go()
    assert reserve.held() == 0


# Counts and notices.


def test_what_was_received_is_what_became_of_it():
    assert with_received({}) == {}
    assert with_received({"fault": 3}) == {"fault": 3}
    each = dict.fromkeys(EVENTS, 2)
    assert with_received(each | {"fault": 1}) == {"received": 10, **each, "fault": 1}


def test_counts_are_taken_once_and_given_back():
    outcomes = Outcomes()
    assert outcomes.take() == {}
    outcomes.count({"accepted": 2, "spooled": 0})
    outcomes.count(Counter(accepted=1))
    taken = outcomes.take()
    assert (taken, outcomes.take()) == ({"accepted": 3}, {})
    outcomes.count(taken)
    assert outcomes.take() == taken


def test_a_notice_of_a_spool_is_gone_with_what_it_tells_of(redis_client):
    class SomeSpool:
        oldest_at = None

        def backlog(self):
            return self

    spool, nodes = SomeSpool(), Nodes(redis_client)
    notice = SpoolNotice(nodes, spool)
    name = keys.spooled(socket.gethostname())
    now = time.time()
    redis_client.set(name, now - 5)  # of another process of this machine
    notice.post()
    assert redis_client.exists(name)
    spool.oldest_at = now - 10
    notice.post()
    assert float(redis_client.get(name)) == now - 10
    assert HOUR - 5 <= redis_client.ttl(name) <= HOUR
    assert waits_since_before(nodes, now)
    assert waits_since_before(nodes, now + 1_000)
    assert not waits_since_before(nodes, now - 10)
    redis_client.set(keys.spooled("another"), now - 20)
    assert waits_since_before(nodes, now - 15)
    redis_client.delete(keys.spooled("another"))
    spool.oldest_at = None
    notice.post()
    assert not redis_client.exists(name)
    assert not waits_since_before(nodes, now)
    redis_client.set(keys.spooled("ahead"), now + 500)  # its clock is
    assert not waits_since_before(nodes, now + 1_000)
