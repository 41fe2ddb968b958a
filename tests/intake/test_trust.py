"""Whether Redis may be the only holder of a batch, asked of real servers."""

import asyncio
import time
from contextlib import closing
from dataclasses import replace

import pytest
import redis

from app.intake.redis_client import request_client
from app.intake.script import Script
from app.intake.trust import Trust, Untrusted, ask, read, risk_of
from app.intake.waiting import run, start
from app.intake.watch import Watch
from tests.calls import body
from tests.processes.running import free_port, wait_until
from tests.redis_servers import KEEPS, ON_BOTH, VALKEY, redis_server

SAFE = {"role": "master", "aof_enabled": "1", "maxmemory_policy": "noeviction"}
SUCCESS = b'{"success":true}'


@pytest.fixture(params=ON_BOTH)
def server(request, tmp_path):
    with redis_server(request.param, tmp_path / "redis", **KEEPS) as client:
        yield client


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-random", "volatile-lru"])
def test_a_redis_that_evicts_by_any_policy_is_not_trusted(server, policy):
    assert risk_of(ask(server)) is None
    server.config_set("maxmemory-policy", policy)
    assert risk_of(ask(server)) == f"may evict keys (maxmemory-policy {policy})"


def test_a_redis_without_an_append_only_file_and_a_replica_are_not_trusted(server):
    server.config_set("appendonly", "no")
    assert risk_of(ask(server)) == "keeps no append-only file"
    server.replicaof("127.0.0.1", free_port())
    assert risk_of(ask(server)) == "is a replica"


def test_an_answer_says_the_same_however_it_was_fetched(server):
    raw = server.connection_pool.get_connection()
    raw.send_command("INFO")
    told, asked = read(raw.read_response()), ask(server)
    for name in ("role", "aof_enabled", "maxmemory_policy", "aof_rewrite_in_progress"):
        assert told[name] == str(asked[name])


def test_what_is_not_told_counts_against_it():
    assert risk_of({}) is not None
    assert risk_of({name: SAFE[name] for name in ("role", "aof_enabled")}) is not None


@pytest.mark.parametrize(("mode", "is_first"), [("stream", True), ("store", False)])
def test_a_fixed_order_stays_whatever_redis_says(mode, is_first):
    trust = Trust(mode)
    for info in (SAFE, {}, SAFE):
        trust.admit(info)
        assert trust.is_stream_first is is_first


def test_a_file_that_was_just_switched_on_is_not_trusted_before_it_is_complete():
    trust = Trust("auto")
    trust.hear({})
    trust.hear({**SAFE, "aof_rewrite_in_progress": "1"})
    assert not trust.is_stream_first
    trust.hear(SAFE)
    assert trust.is_stream_first
    trust.hear({**SAFE, "aof_rewrite_in_progress": "1"})  # as it is now and then
    assert trust.is_stream_first


def test_a_new_order_is_logged_once_with_its_cause(caplog):
    caplog.set_level("INFO")
    trust = Trust("auto")
    for info in (SAFE, SAFE, {**SAFE, "aof_enabled": 0}, {**SAFE, "aof_enabled": 0}):
        trust.hear(info)
    assert [(one.stream_first, one.redis_risk) for one in caplog.records] == [
        (True, None), (False, "keeps no append-only file")
    ]  # fmt: skip


@pytest.mark.parametrize("way", ["thread", "loop"])
def test_no_batch_goes_over_a_new_connection_to_a_redis_that_is_not_trusted(settings, server, way):
    trust = Trust("auto")
    call = run_on_a_thread if way == "thread" else run_on_a_loop
    with request_client(replace(settings, redis_url=server.url)) as client:
        for policy, error in (("allkeys-lru", Untrusted), ("noeviction", redis.ResponseError)):
            server.config_set("maxmemory-policy", policy)
            script = Script(client, trust.admit)
            with pytest.raises(error):  # an error of the script: it ran, without its keys
                call(script)
            assert trust.is_stream_first is (policy == "noeviction")


def run_on_a_thread(script):
    with closing(script):
        run(script([], []))


def run_on_a_loop(script):
    async def main():
        outcome = asyncio.get_running_loop().create_future()
        start(script([], []), lambda _, error: outcome.set_exception(error))
        try:
            await outcome
        finally:
            script.close()
            await asyncio.sleep(0.01)  # the loop closes its connection

    asyncio.run(main())


def test_a_user_who_may_not_ask_trusts_nothing_and_loses_nothing(calling, server):
    server.execute_command("ACL SETUSER app on >secret ~* +@all -info")
    caller = calling(redis_url=server.url.replace("//", "//app:secret@"))
    assert caller.post(body()).data == SUCCESS
    assert (server.xlen("{t0}:stream"), len(caller.rows())) == (0, 1)
    assert caller.extensions["intake"].streams.of("any").breaker.since is None


def test_while_redis_is_away_its_last_answer_holds(settings, tmp_path):
    port, trust = free_port(), Trust("auto")
    there = replace(settings, redis_url=f"redis://127.0.0.1:{port}")

    def hear():
        with request_client(there) as client:
            trust.hear(ask(client))

    watch = Watch(hear, lambda: None, ask_every=0)
    watch.look()
    assert trust.is_stream_first  # nothing is known: the connection will ask
    with redis_server(VALKEY, tmp_path / "redis", port, appendonly="no"):
        watch.look()
    watch.look()
    assert not trust.is_stream_first


@pytest.mark.slow
def test_redis_is_asked_in_a_rhythm_and_again_soon_after_it_was_away():
    asked = []

    def hear():
        asked.append(time.monotonic())
        if len(asked) == 1:
            raise redis.ConnectionError

    watch = Watch(hear, lambda: None, ask_every=60)
    watch.start()
    wait_until(lambda: len(asked) == 2)
    time.sleep(1.2)
    watch.stop()
    assert len(asked) == 2
