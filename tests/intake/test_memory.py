"""A Redis that is short of memory, or full."""

import time
from collections import Counter
from contextlib import contextmanager

import pytest
import redis

from app.dev.servers import valkey
from app.intake import keys
from app.intake.memory import Bounds, Keeper, memory_of
from app.intake.outcomes import Outcomes
from tests.calls import body, event
from tests.draining import drain
from tests.processes.running import wait_until

MIB = 1024 * 1024
SUCCESS = b'{"success":true}'


@pytest.fixture(scope="module")
def own_url(servers_folder):
    """A server of its own: its memory is limited, and that would be in other tests' way."""
    with valkey(servers_folder / "small") as url:
        yield url


@pytest.fixture
def redis_url(own_url):
    with redis.Redis.from_url(own_url) as client:
        client.config_set("maxmemory", 0)
        client.flushall()
        client.script_flush()
    return own_url


@contextmanager
def full(client):
    client.config_set("maxmemory", int(0.8 * client.info("memory")["used_memory"]))
    yield
    client.config_set("maxmemory", 0)


def counted(caller, client):
    """By name, in Redis and still to be carried there."""
    numbers = Counter(caller.outcomes())
    for name, number in client.hgetall(keys.total(0)).items():
        numbers[name.decode()] += int(number)
    return numbers


def fill(client, shop, number, age=0):
    """Seen ids of a shop, in the set of so many buckets before."""
    name = keys.seen(0, shop, time.time(), 172_800)[age]
    for start in range(0, number, 1_000):
        client.sadd(name, *(b"%016d" % id_ for id_ in range(start, start + 1_000)))
    return name


@pytest.mark.parametrize("intake", ["stream", "store"])
def test_a_full_redis_still_limits_counts_and_says_so(calling, redis_client, settings, intake):
    caller = calling(intake=intake, rate_limit_visitor_per_minute=3)
    assert caller.get("/readyz").json["status"] == "ok"
    batch = body()
    with full(redis_client):
        assert [caller.post(batch).data for _ in range(2)] == [SUCCESS] * 2
        assert caller.post(body(event(), event(event="no"))).json["accepted"] == 1
        assert [caller.post(body()).status_code for _ in range(2)] == [429, 429]
        caller.extensions["intake"].report()
        reply = caller.get("/readyz")
        assert (reply.status_code, reply.json["status"]) == (200, "degraded")
        assert (reply.json["redis"], reply.json["redis_is_full"]) == ("up", True)
        assert ("stream" in reply.json["paused"]) is (intake == "stream")
        assert counted(caller, redis_client) == {
            "accepted": 2, "duplicate": 1, "rejected": 1, "rate_limited": 2,
        }  # fmt: skip
        assert len(caller.rows()) == 2
    redis_client.delete(*redis_client.keys("{t0}:rates:*"))
    assert caller.post(body()).data == SUCCESS
    drain(settings)
    assert len(caller.rows()) == 3
    redis_client.delete(keys.skipped("stream"))
    caller.extensions["intake"].report()
    assert caller.get("/readyz").json["status"] == "ok"


@pytest.mark.slow
def test_a_full_redis_and_no_postgres_is_not_ready_without_a_spool(calling, redis_client):
    nowhere = {"database_url": "postgresql://127.0.0.1:1/x", "spool_dir": "/dev/null/spool"}
    caller = calling(intake="stream", **nowhere)
    assert caller.get("/readyz").status_code == 200
    with full(redis_client):
        assert caller.get("/readyz").status_code == 503
        assert caller.post(body()).json["code"] == "NOT_STORED"


def test_a_worker_empties_the_stream_of_a_full_redis(calling, redis_client, settings):
    caller = calling(intake="stream")
    caller.post(body())
    with full(redis_client):
        drain(settings)
        assert redis_client.xlen("{t0}:stream") == 0
    assert len(caller.rows()) == 1


def test_short_of_memory_the_largest_shop_forgets_its_oldest_ids(redis_client):
    outcomes = Outcomes()
    small = fill(redis_client, "small.myshopify.com", 1_000, age=1)
    old, new = (fill(redis_client, "large.myshopify.com", 60_000, age=age) for age in (1, 0))
    redis_client.config_set("maxmemory", int(redis_client.info("memory")["used_memory"] / 0.85))
    Keeper(redis_client, Bounds(10**9), outcomes).keep()
    assert [redis_client.exists(name) for name in (small, new, old)] == [1, 1, 0]
    assert outcomes.take() == {"seen_forgotten": 60_000}


def test_with_memory_to_spare_nothing_is_forgotten(redis_client):
    name = fill(redis_client, "large.myshopify.com", 60_000)
    redis_client.config_set("maxmemory", int(redis_client.info("memory")["used_memory"] / 0.75))
    Keeper(redis_client, Bounds(10**9), Outcomes()).keep()
    assert redis_client.scard(name) == 60_000


def test_the_bounds_fit_the_memory(redis_client):
    bounds = Bounds(512 * MIB)
    redis_client.config_set("maxmemory", 64 * MIB)
    keeper = Keeper(redis_client, bounds, Outcomes())
    keeper.keep()
    assert bounds.stream_bytes == 32 * MIB
    assert 3 * bounds.seen_ids * 40 < 64 * MIB / 4
    redis_client.config_set("maxmemory", 8 * 1024 * MIB)
    keeper._look_at = 0
    keeper.keep()
    assert bounds.stream_bytes == 512 * MIB


def test_where_redis_does_not_tell_the_bounds_stay(redis_client, own_url):
    redis_client.execute_command("ACL SETUSER mute on nopass ~* +@all -info")
    bounds = Bounds(512 * MIB)
    address = redis_client.connection_pool.connection_kwargs
    with redis.Redis(host=address["host"], port=address["port"], username="mute") as mute:
        Keeper(mute, bounds, Outcomes()).keep()
        assert memory_of(mute).is_full is False
    assert bounds == Bounds(512 * MIB)


def test_where_redis_is_full_of_something_else_it_is_not_searched_all_the_time(redis_client):
    redis_client.set("other", b"x" * 8 * MIB)
    keeper = Keeper(redis_client, Bounds(10**9), Outcomes())
    with full(redis_client):
        keeper.keep()
        keeper._look_at = 0
        before = redis_client.info("commandstats")["cmdstat_scan"]["calls"]
        keeper.keep()
        assert redis_client.info("commandstats")["cmdstat_scan"]["calls"] == before


def test_a_web_process_fits_its_stream_to_the_memory_beside_its_requests(calling, redis_client):
    """And carries on what it has counted, and what waits in its spool."""
    caller = calling(stream_max_bytes=512 * MIB)
    bounds = caller.extensions["intake"].streams.of("any").bounds
    redis_client.config_set("maxmemory", 64 * MIB)
    caller.post(body(), query_string="")
    caller.extensions["drainer"].start()
    wait_until(lambda: bounds.stream_bytes == 32 * MIB)
    wait_until(lambda: redis_client.hget(keys.total(0), "signature:missing:shop") == b"1")
    caller.extensions["drainer"].stop()
