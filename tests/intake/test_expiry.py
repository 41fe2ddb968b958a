"""What Redis is asked to keep does not grow for ever."""

import sqlite3
from contextlib import closing

import pytest

from app.intake import keys
from app.intake.nodes import Nodes
from app.intake.spool import Spool
from app.intake.spool_notice import SpoolNotice
from tests.calls import body, event

HOUR = 60 * 60
# Seconds, by the second part of a key's name; the lowest is what it must be remembered for.
LIFETIMES = {
    "counts": (7 * 24 * HOUR, 9 * 24 * HOUR),
    "rates": (60, 2 * 60),
    "seen": (48 * HOUR - 60, 73 * HOUR),
    "claim": (0, 60),
    "spool": (30 * 60, HOUR),
    "paused": (2, 60),
}
SLOW = 10  # s that a busy machine may take from the batch to the look at it


def lifetimes(client):
    """By key, of what is not bounded by itself: a name more each day would be too much."""
    kept = {"{t0}:stream", "{t0}:stream:size", "{t0}:counts:total"}
    found = {key.decode(): client.ttl(key) for key in client.scan_iter()}
    return {key: seconds for key, seconds in found.items() if key not in kept}


def check(found):
    for key, seconds in found.items():
        lowest, highest = LIFETIMES[key.split(":")[1]]
        assert lowest - SLOW <= seconds <= highest, key


@pytest.mark.parametrize("intake", ["stream", "store"])
def test_what_a_batch_leaves_in_redis_expires(calling, redis_client, intake):
    caller = calling(intake=intake, rate_limit_shop_per_minute=7, rate_limit_visitor_per_minute=4)
    batch = body(event(), event(timestamp=1), event())
    for _ in range(2):  # repeats, then over the limit
        caller.post(batch)
    caller.extensions["intake"].report()
    found = lifetimes(redis_client)
    assert {key.split(":")[1] for key in found} == {"counts", "rates", "seen"}
    assert len(found) == 5  # of the shop, its rejected events, and the visitor
    check(found)


def test_counts_that_come_without_a_batch_expire(calling, redis_client):
    caller = calling()
    caller.post(body(), secret="wrong")
    caller.extensions["intake"].report()
    found = lifetimes(redis_client)
    assert len(found) == 1
    check(found)


def test_a_count_of_several_days_ago_is_not_kept_alive(calling, redis_client):
    caller = calling()
    caller.post(body())
    [key] = redis_client.keys("{t0}:counts:2*")
    redis_client.expire(key, 100)
    caller.post(body())
    caller.post(body(), secret="wrong")
    caller.extensions["intake"].report()
    assert redis_client.ttl(key) <= 100


def test_notices_of_what_does_not_work_expire(calling, redis_client, tmp_path):
    caller = calling(database_url="postgresql://127.0.0.1:1/x", intake="store")
    caller.post(body())
    caller.extensions["intake"].report()
    with closing(Spool(tmp_path / "spool", max_bytes=2**20)) as spool:
        SpoolNotice(Nodes(redis_client), spool).post()
    found = lifetimes(redis_client)
    assert {"paused", "spool"} <= {key.split(":")[1] for key in found}
    assert redis_client.get(keys.skipped("store"))
    check(found)


def test_a_batch_in_the_spool_is_on_the_disk_before_the_reply(tmp_path):
    with closing(Spool(tmp_path / "spool", max_bytes=2**20)) as spool:
        spool.has_room()
        [connection] = [one for one in vars(spool).values() if isinstance(one, sqlite3.Connection)]
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
