"""Batches on a real cluster: redirections, slots that move, a node by itself."""

import asyncio
import os
import signal
from contextlib import closing, contextmanager
from dataclasses import replace

import pytest
import redis

from app.intake import keys, redis_client, script
from app.intake import nodes as nodes_module
from app.intake.nodes import Nodes, address_of
from app.intake.redis_client import client_of
from app.intake.shared_connection import SharedConnection
from tests.calls import body, event
from tests.draining import drain
from tests.processes.running import wait_until
from tests.redis_servers import VALKEY, port_of, redis_server

pytestmark = pytest.mark.slow

PARTITIONS = 12
SHOPS = [f"shop-{number}.myshopify.com" for number in range(30)]


@pytest.fixture(autouse=True)
def patient(request, monkeypatch):
    """On a slow machine too a batch goes to its node; only one that hangs is waited for."""
    if "hangs" not in request.node.name:
        for module in (nodes_module, redis_client, script):
            monkeypatch.setattr(module, "REQUEST_TIMEOUT", 3.0)


@pytest.fixture
def caller(calling, three):
    return calling(redis_url=three.url, stream_partitions=PARTITIONS)


@pytest.fixture
def nodes(three):
    with closing(Nodes(client_of(three.url, 0.25))) as nodes:
        yield nodes


def streams_of(caller):
    return caller.extensions["intake"].streams


def shop_in(partition):
    return next(
        name
        for name in (f"one-{number}.myshopify.com" for number in range(1_000))
        if keys.partition(name, PARTITIONS) == partition
    )


def test_each_batch_goes_to_the_node_of_its_partition_without_a_map(caller, three):
    for shop in SHOPS:
        assert caller.post(body(), shop=shop).status_code == 200
    assert caller.rows() == []  # none went past the stream
    assert three.waiting() == len(SHOPS)
    assert all(one.dbsize() for one in three.primaries)
    assert all(stream.breaker.since is None for stream in streams_of(caller).all())


def test_the_map_names_the_node_of_every_partition(three, nodes):
    assert nodes.all() == [nodes.first]
    nodes.refresh()
    assert {address_of(one)[1] for one in nodes.all()} == set(map(port_of, three.primaries))
    for partition in range(64):
        assert address_of(nodes.of(partition))[1] == port_of(three.owner(partition))
    grouped = nodes.by_node(range(64))
    assert sorted(one for those in grouped.values() for one in those) == list(range(64))
    assert len(grouped) == 3


def test_on_one_server_all_partitions_are_there_and_it_is_asked_once(redis_url, redis_client):
    with closing(Nodes(client_of(redis_url, 0.25))) as nodes:
        for _ in range(5):
            nodes.refresh()
        assert nodes.is_cluster is False
        assert nodes.by_node([0, 5, 63]) == {nodes.first: [0, 5, 63]}
        assert redis_client.info("commandstats").get("cmdstat_cluster|slots") is None


def test_a_repeat_is_known_on_whichever_node_its_shop_is(caller):
    for shop in SHOPS:
        for _ in range(2):
            caller.post(body(event(insert_id="one")), shop=shop)
    caller.extensions["intake"].report()
    wait_until(lambda: caller.extensions["status"]().redis == "up")
    status = caller.extensions["status"]()
    assert (status.outcomes["accepted"], status.outcomes["duplicate"]) == (len(SHOPS), len(SHOPS))


def test_a_slot_that_has_moved_is_followed_at_once(caller, three):
    shop = shop_in(3)
    caller.post(body(), shop=shop)
    three.move(3)
    caller.post(body(), shop=shop)
    assert three.owner(3).xlen(keys.stream(3)) == 2
    assert address_of(streams_of(caller).of(shop).client)[1] == port_of(three.owner(3))


def test_while_a_slot_moves_postgres_takes_its_batches_and_no_node_is_skipped(
    caller, three, database
):
    moving, other = shop_in(4), shop_in(5)
    caller.post(body(), shop=moving)
    source = three.owner(4)
    target = next(one for one in three.primaries if one is not source)
    three.begin_to_move(4, source, target)
    try:
        for _ in range(3):
            assert caller.post(body(), shop=moving).status_code == 200
            caller.post(body(), shop=other)
        assert all(stream.breaker.since is None for stream in streams_of(caller).all())
        assert three.owner(5).xlen(keys.stream(5)) == 3
        assert len(caller.rows()) == 3
    finally:
        three.end_to_move(4, source, target)
    assert target.xlen(keys.stream(4)) == 1


@pytest.mark.parametrize("way", ["loop", "thread"])
def test_where_a_key_is_asked_for_elsewhere_for_now_it_is_found_there(three, way, nodes):
    source = three.owner(6)
    target = next(one for one in three.primaries if one is not source)
    three.begin_to_move(6, source, target)
    try:
        nodes.refresh()
        with pytest.raises(redis.exceptions.AskError) as asked:
            nodes.of(6).set("{t6}:new", 1)
        there = nodes.follow(nodes.of(6), asked.value)
        assert address_of(there)[1] == port_of(target)
        assert address_of(nodes.of(6))[1] == port_of(source)  # until it has moved

        async def ask():
            with closing(SharedConnection(there, timeout=1)) as shared:
                return await shared.call("SET", "{t6}:new", 1, asking=True)

        if way == "loop":
            assert asyncio.run(ask()) == b"OK"
        else:
            with there.pipeline(transaction=False) as pipeline:
                pipeline.execute_command("ASKING")
                pipeline.set("{t6}:new", 1)
                assert pipeline.execute()[1]
    finally:
        three.end_to_move(6, source, target)


@contextmanager
def frozen(server):
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


def test_a_node_that_hangs_is_skipped_by_itself(caller, three):
    for shop in SHOPS:
        caller.post(body(), shop=shop)
    down = three.owner(0)
    apart = [shop for shop in SHOPS if three.owner(partition_of(shop)) is not down]
    lost = shop_in(0)
    before = three.waiting()
    with frozen(down):
        assert caller.post(body(), shop=lost).status_code == 200  # Postgres has it
        for shop in apart:
            caller.post(body(), shop=shop)
        skipped = [stream for stream in streams_of(caller).all() if stream.breaker.since]
    assert [address_of(stream.client)[1] for stream in skipped] == [port_of(down)]
    assert three.waiting() >= before + len(apart)
    assert len(caller.rows()) == 1


def partition_of(shop):
    return keys.partition(shop, PARTITIONS)


def test_a_node_that_may_lose_what_it_holds_is_not_given_batches(caller, three):
    risky = three.owner(0)
    risky.config_set("appendonly", "no")
    try:
        for shop in SHOPS:
            caller.post(body(), shop=shop)
        told = {one["shop_domain"] for one in caller.rows()}
        assert told >= {shop for shop in SHOPS if three.owner(partition_of(shop)) is risky}
        assert risky.exists(*map(keys.stream, [0])) == 0
        state = caller.get("/readyz").json
        assert state["redis_risk"] == "keeps no append-only file"
    finally:
        risky.config_set("appendonly", "yes")
        wait_until(lambda: not risky.info("persistence")["aof_rewrite_in_progress"])


def test_each_node_s_bounds_fit_its_own_memory(caller, three):
    small = three.owner(0)
    small.config_set("maxmemory", 64 * 2**20)
    try:
        streams = streams_of(caller)
        streams.nodes.refresh()
        streams.keep()
        room = {address_of(one.client)[1]: one.bounds.stream_bytes for one in streams.all()}
        assert room.pop(port_of(small)) == 32 * 2**20
        assert set(room.values()) == {512 * 2**20}
    finally:
        small.config_set("maxmemory", 0)


def test_more_partitions_while_old_ones_still_hold_batches(calling, three, settings):
    few = calling(redis_url=three.url, stream_partitions=1)
    many = calling(redis_url=three.url, stream_partitions=PARTITIONS)
    for shop in SHOPS:
        few.post(body(event(insert_id="a")), shop=shop)
        many.post(body(event(insert_id="a"), event(insert_id="b")), shop=shop)
    drain(replace(settings, redis_url=three.url))
    rows = sorted((row["shop_domain"], row["insert_id"]) for row in many.rows())
    assert rows == sorted((shop, id_) for shop in SHOPS for id_ in "ab")
    assert three.waiting() == 0


def test_more_streams_than_one_share_the_memory_of_their_server(calling, redis_client):
    caller = calling(intake="stream", stream_partitions=4)
    for shop in SHOPS:
        caller.post(body(), shop=shop)
    sizes = [int(redis_client.get(keys.size(keys.stream(one)))) for one in range(4)]
    streams = streams_of(caller)
    [stream] = streams.all()
    keeper = streams._keepers.get(stream.client)
    assert keeper is None
    streams.keep()
    keeper = streams._keepers[stream.client]
    assert keeper._room(sum(sizes), range(4)) == 0
    assert keeper._room(sum(sizes) + 1, range(4)) == sum(sizes) + 1


def test_a_cluster_that_is_not_whole_says_so_and_keeps_its_map(tmp_path):
    with (
        redis_server(VALKEY, tmp_path / "one", **{"cluster-enabled": "yes"}) as server,
        closing(Nodes(client_of(server.url, 0.25))) as nodes,
    ):
        with pytest.raises(redis.exceptions.ClusterDownError):
            nodes.refresh()
        assert nodes.all() == [nodes.first]
        server.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
        wait_until(lambda: server.cluster("info")["cluster_state"] == "ok")
        nodes.refresh()
        assert [address_of(one)[1] for one in nodes.all()] == [port_of(server)]
