"""A worker that reads several streams, of one server and of a cluster."""

import threading
from contextlib import closing
from dataclasses import replace

import pytest

from app.intake import backlog, keys
from app.intake.nodes import Nodes
from app.intake.redis_client import worker_client
from app.worker.consumer import Consumer
from app.worker.consuming import Everywhere
from app.worker.storing import parse
from tests.calls import body, event

SHOPS = [f"shop-{number}.myshopify.com" for number in range(20)]
PARTITIONS = 8


def everywhere(nodes, storing, partitions=1, parse=parse):
    """With the consumers that it has made."""
    made = []

    def make(node, streams):
        client = nodes.first if node is nodes.first else node
        made.append(
            Consumer(
                client,
                parse,
                storing.store,
                streams=streams,
                name="one",
                is_cluster=lambda: nodes.is_cluster,
            )
        )
        return made[-1], client

    return Everywhere(nodes, make, partitions=partitions), made


@pytest.fixture
def nodes(settings):
    with closing(Nodes(worker_client(settings))) as nodes:
        yield nodes


@pytest.mark.parametrize("at_once", [2, 3, 100])
def test_all_of_many_streams_are_read_however_few_entries_may_be_read_at_once(
    calling, nodes, storing, stopping, monkeypatch, at_once
):
    monkeypatch.setattr(backlog, "_MANY", at_once)
    caller = calling(intake="stream", stream_partitions=PARTITIONS)
    for shop in SHOPS:
        for id_ in "abc":
            caller.post(body(event(insert_id=id_)), shop=shop)
    streams = [keys.stream(partition) for partition in range(PARTITIONS)]
    consumer = Consumer(nodes.first, parse, storing.store, streams=lambda: streams, name="one")
    while any(nodes.first.xlen(stream) for stream in streams):
        assert consumer.run_once(stopping)
    assert len(caller.rows()) == 3 * len(SHOPS)


def test_the_streams_that_exist_are_found_whatever_is_configured(calling, nodes, storing):
    worker, _ = everywhere(nodes, storing)
    worker.look()
    assert worker.streams(nodes.first) == [keys.stream(0)]
    caller = calling(intake="stream", stream_partitions=PARTITIONS)
    caller.post(body(), shop=SHOPS[0])
    worker._searched_at = float("-inf")
    worker.look()
    there = keys.stream(keys.partition(SHOPS[0], PARTITIONS))
    assert worker.streams(nodes.first) == sorted({keys.stream(0), there})


def test_a_fault_of_ours_ends_the_worker_and_is_told(calling, nodes, storing):
    def parse(entry):
        raise ZeroDivisionError

    calling(intake="stream").post(body())
    worker, _ = everywhere(nodes, storing, parse=parse)
    stop = threading.Event()
    with pytest.raises(ZeroDivisionError):
        worker.run(stop)
    assert stop.is_set()


def test_that_a_stream_is_left_out_is_said_once_until_it_is_back(
    nodes, storing, stopping, caplog, monkeypatch
):
    monkeypatch.setattr("app.worker.consumer._JOIN_EVERY", 0)
    monkeypatch.setattr("app.worker.consumer.BLOCK", 10)
    caplog.set_level("INFO")
    streams = [keys.stream(0), keys.stream(1)]
    consumer = Consumer(nodes.first, parse, storing.store, streams=lambda: streams, name="one")
    for times in (1, 2):
        nodes.first.delete(streams[1])
        nodes.first.set(streams[1], "not a stream")
        consumer.let_go()
        for _ in range(3):
            consumer.run_once(stopping)
        nodes.first.delete(streams[1])
        consumer.run_once(stopping)
        said = [one.stream for one in caplog.records if one.action == "stream_left_out"]
        assert said == [streams[1]] * times


@pytest.mark.slow
def test_a_stream_whose_slot_is_on_its_way_holds_no_other_up(
    calling, three, settings, storing, stopping
):
    caller = calling(redis_url=three.url, stream_partitions=PARTITIONS)
    for shop in SHOPS:
        caller.post(body(), shop=shop)
    moving = 3
    there = three.owner(moving).xlen(keys.stream(moving))
    source = three.owner(moving)
    target = next(one for one in three.primaries if one is not source)
    with closing(Nodes(worker_client(replace(settings, redis_url=three.url)))) as nodes:
        worker, made = everywhere(nodes, storing, PARTITIONS)
        worker.look()
        for node in nodes.all():
            worker._make(node, lambda node=node: worker.streams(node))
        three.begin_to_move(moving, source, target)
        three.take_keys_over(moving, source, target)
        for _ in range(3):
            for consumer in made:
                consumer.run_once(stopping)
        assert len(caller.rows()) == len(SHOPS) - there
        three.end_to_move(moving, source, target)
        worker.look()
        for consumer in made:
            consumer.let_go()
            consumer.run_once(stopping)
    assert there
    assert len(caller.rows()) == len(SHOPS)
    assert three.waiting() == 0
