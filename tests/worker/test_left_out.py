"""A stream that fails by itself is left out, and the others are read on; on one server, asked as a
cluster's nodes are."""

import pytest

from app.intake import keys
from app.intake.redis_client import worker_client
from app.worker import consumer as consumer_module
from app.worker.consumer import Consumer
from app.worker.storing import parse

ONE, TWO = (keys.stream(partition) for partition in range(2))


@pytest.fixture
def consumer(settings, redis_client, monkeypatch):
    monkeypatch.setattr(consumer_module, "_JOIN_EVERY", 60.0)
    stored = []
    with worker_client(settings) as client:
        consumer = Consumer(
            client, parse, stored.extend, streams=lambda: [ONE, TWO], name="one",
            is_cluster=lambda: True,
        )  # fmt: skip
        consumer.stored = stored
        yield consumer


def spoil(redis_client, stream):
    """Whatever is asked of it is refused."""
    redis_client.delete(stream)
    redis_client.set(stream, "no stream")


@pytest.mark.parametrize(("spoilt", "whole"), [(ONE, TWO), (TWO, ONE)])
def test_of_two_streams_one_is_left_out_once_and_joined_again(
    consumer, redis_client, stopping, said, monkeypatch, spoilt, whole
):
    consumer.join()
    assert consumer._streams == [ONE, TWO]
    spoil(redis_client, spoilt)
    redis_client.xadd(whole, {"shop": "a"})  # not readable: put into rejected_events
    assert consumer.run_once(stopping) is True
    assert len(consumer.stored) == 1
    assert redis_client.xlen(whole) == 0
    assert consumer._streams == [whole]
    assert consumer.run_once(stopping) is False
    [(level, stream, why)] = said("stream_left_out", "stream", "cause")
    assert (level, stream) == ("INFO", spoilt)
    assert "WRONGTYPE" in why or "ResponseError" in why
    redis_client.delete(spoilt)
    monkeypatch.setattr(consumer_module, "_JOIN_EVERY", 0.0)
    consumer.let_go()
    redis_client.xadd(spoilt, {"shop": "a"})
    assert consumer.run_once(stopping) is True
    assert set(consumer._streams) == {ONE, TWO}
    assert len(said("stream_left_out")) == 1


def test_one_that_cannot_be_joined_is_left_out_too(consumer, redis_client, said):
    spoil(redis_client, ONE)
    consumer.join()
    assert consumer._streams == [TWO]
    consumer.let_go()
    consumer.join()
    assert [stream for _, stream in said("stream_left_out", "stream")] == [ONE]


def test_without_any_stream_nothing_is_read(consumer, redis_client, stopping):
    for stream in (ONE, TWO):
        spoil(redis_client, stream)
    assert consumer.run_once(stopping) is False
    assert consumer.stored == []
