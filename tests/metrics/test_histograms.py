"""Observations, from a process to Redis and back."""

import threading
from dataclasses import replace

import orjson
import pytest
from redis import ConnectionError as RedisIsAway
from redis import Redis

from app.intake import keys
from app.intake.nodes import Nodes
from app.metrics.histograms import COPIES, METRICS, REQUESTS, Histograms
from app.metrics.process import this_process
from app.metrics.reading import read
from app.metrics.reporter import LIFETIME, Reporter

NAME = REQUESTS.name


@pytest.fixture
def reporting(redis_client):
    """Makes processes: what one observes, and its reporter."""

    def make(client=redis_client, kind="web"):
        requests = Histograms(REQUESTS)
        return requests, Reporter(Nodes(client), [requests], kind=kind, revision="")

    return make


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_bounds_rise_and_are_numbers_that_people_use(metric):
    assert sorted(set(metric.bounds)) == list(metric.bounds)
    for bound in metric.bounds:
        assert str(bound).replace(".", "").strip("0") in ("1", "25", "5", "3", "6"), bound


def test_a_value_on_a_bound_is_in_that_bucket(reporting, redis_client):
    requests, reporter = reporting()
    for seconds in (0.0005, 0.00051, 0.001, 11):
        requests.observe(seconds, "a.route", 200)
    reporter.report()
    [(labels, observed)] = read(Nodes(redis_client)).observed[NAME].items()
    assert labels == ("a.route", "200")
    assert observed.counts == {"0.0005": 1, "0.001": 2, "inf": 1}
    assert observed.sum == pytest.approx(11.00201)


def test_processes_add_up_and_a_restart_sets_nothing_back(reporting, redis_client):
    for _ in range(3):
        requests, reporter = reporting()
        requests.observe(0.002, "a.route", 200)
        reporter.report()
        reporter.report()
    assert read(Nodes(redis_client)).observed[NAME]["a.route", "200"].counts == {"0.0025": 3}


@pytest.mark.slow
def test_what_redis_does_not_take_waits(reporting, redis_client):
    requests, reporter = reporting(Redis(port=1))
    requests.observe(0.002, "a.route", 200)
    with pytest.raises(RedisIsAway):
        reporter.report()
    requests.observe(0.002, "a.route", 200)
    Reporter(Nodes(redis_client), [requests], kind="web", revision="").report()
    observed = read(Nodes(redis_client)).observed[NAME]["a.route", "200"]
    assert (observed.counts, observed.sum) == ({"0.0025": 2}, pytest.approx(0.004))


def test_nothing_is_lost_between_the_one_who_observes_and_the_one_who_takes():
    copies = Histograms(COPIES)
    taken = []

    def observe():
        for _ in range(50_000):
            copies.observe(1)

    thread = threading.Thread(target=observe)
    thread.start()
    while thread.is_alive():
        taken.append(copies.take())
        if len(taken) % 2:
            copies.give_back(taken.pop())
    taken.append(copies.take())
    for place in (COPIES.bounds.index(1), -1):
        assert sum(numbers[place] for one in taken for numbers in one.values()) == 50_000


def test_a_process_is_forgotten_when_it_stops_or_falls_silent(reporting, redis_client):
    process = this_process("worker", "")
    silent = replace(process, host="gone", at=process.at - LIFETIME - 1)
    redis_client.hset(keys.processes(), silent.name, orjson.dumps(silent))
    assert read(Nodes(redis_client)).processes == []
    _, reporter = reporting()
    reporter.start()
    reporter.stop()
    assert redis_client.hgetall(keys.processes()) == {}


def test_a_process_tells_of_itself(reporting, redis_client):
    _, reporter = reporting()
    reporter.count_connections = lambda: 7
    reporter.report()
    [process] = read(Nodes(redis_client)).processes
    assert (process.kind, process.connections, process.version) == ("web", 7, "0.1.0")
    assert 10_000_000 < process.memory_bytes < 10_000_000_000
    assert 0 < process.at - process.started_at < 10_000


def test_what_another_release_has_told_can_be_read(redis_client):
    text = orjson.dumps({"kind": "web", "at": 2**40, "of_the_future": 1})
    redis_client.hset(keys.processes(), "web:x:1", text)
    redis_client.hset(keys.observations(), "a_metric_of_the_future|0.5", 1)
    [process] = read(Nodes(redis_client)).processes
    assert (process.kind, process.memory_bytes) == ("web", None)
