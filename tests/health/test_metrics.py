"""/metrics, as Prometheus reads it."""

import socket
import subprocess
import time
from contextlib import closing, suppress
from dataclasses import replace
from shutil import which

import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families
from redis import RedisError

from app.intake import keys
from app.metrics.process import this_process
from tests.calls import PATH, body, event
from tests.processes.running import wait_until
from tests.server.conftest import PLAIN, post
from tests.serving import serving

NO_POSTGRES = "postgresql://127.0.0.1:1/nowhere"
NO_REDIS = "redis://127.0.0.1:1"
OF_REDIS = {
    "genlook_events_total",
    "genlook_incidents_total",
    "genlook_backlog_batches",
    "genlook_redis_memory_bytes",
    "genlook_request_duration_seconds_count",
    "genlook_process_resident_memory_bytes",
}
OF_POSTGRES = {
    "genlook_postgres_size_bytes",
    "genlook_postgres_connections",
    "genlook_postgres_connections_limit",
    "genlook_reports_behind_seconds",
    "genlook_privacy_requests",
}


@pytest.fixture
def scraped(calling):
    """What a caller's app shows: a text, and its samples by name."""

    def scrape(caller):
        caller.extensions["intake"].report()
        with suppress(RedisError):
            caller.extensions["reporter"].report()
        reply = caller.get("/metrics", headers={"Authorization": "Bearer right"})
        assert reply.status_code == 200
        return reply.text, samples(reply.text)

    return scrape


def samples(text):
    found = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation, family.name
        assert family.type != "unknown", family.name
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


@pytest.mark.slow
def test_what_cannot_be_read_is_left_out_and_not_0(calling, scraped):
    there = calling(metrics_token="right")
    there.post(body())
    _, all_there = scraped(there)
    assert all_there.keys() >= OF_REDIS | OF_POSTGRES
    _, no_redis = scraped(calling(metrics_token="right", redis_url=NO_REDIS))
    assert not OF_REDIS & no_redis.keys()
    assert no_redis["genlook_up"] == [({"server": "postgres"}, 1), ({"server": "redis"}, 0)]
    _, no_postgres = scraped(calling(metrics_token="right", database_url=NO_POSTGRES))
    assert not OF_POSTGRES & no_postgres.keys()
    assert no_postgres.keys() >= OF_REDIS


def test_totals_say_that_they_are_global(calling, scraped):
    caller = calling(metrics_token="right")
    caller.post(body())
    text, _ = scraped(caller)
    for name in ("events_total", "incidents_total", "request_duration_seconds"):
        [line] = [line for line in text.splitlines() if f"HELP genlook_{name} " in line]
        assert "of all processes together" in line


def test_the_totals_of_a_system_that_has_seen_nothing_are_0(calling, scraped):
    _, found = scraped(calling(metrics_token="right"))
    assert ({"outcome": "accepted"}, 0) in found["genlook_events_total"]
    assert ({"kind": "fault"}, 0) in found["genlook_incidents_total"]


def test_requests_are_timed_by_route_and_status(calling, scraped):
    caller = calling(metrics_token="right")
    for _ in range(3):
        caller.post(body())
    caller.post(body(), query_string="")
    caller.post({}, path="/chosen/by/a/caller")
    caller.get(PATH)
    caller.get("/healthz")
    text, found = scraped(caller)
    counts = {
        (labels["route"], labels["status"]): value
        for labels, value in found["genlook_request_duration_seconds_count"]
    }
    assert counts == {
        ("tracking.receive_events", "200"): 3,
        ("tracking.receive_events", "401"): 1,
        ("unknown", "404"): 1,
        ("unknown", "405"): 1,
        ("health.healthz", "200"): 1,
    }
    assert "chosen" not in text
    buckets = [
        (float(labels["le"]), value)
        for labels, value in found["genlook_request_duration_seconds_bucket"]
        if (labels["route"], labels["status"]) == ("tracking.receive_events", "200")
    ]
    assert buckets == sorted(buckets)
    assert buckets[-1] == (float("inf"), 3)
    sums = found["genlook_request_duration_seconds_sum"]
    assert all(0 < value < 10 for _, value in sums)


def test_a_caller_that_sends_slowly_is_not_timed(app):
    whole = post(PLAIN % 1)
    with serving(app) as server, closing(socket.create_connection(server.address)) as connection:
        connection.sendall(whole[:-10])
        wait_until(lambda: server.connections)
        begun = time.perf_counter()
        time.sleep(0.2)
        connection.sendall(whole[-10:])
        assert b" 200 " in connection.recv(65536)
        [numbers] = server.requests.take().values()
    assert numbers[-1] < time.perf_counter() - begun - 0.1


@pytest.mark.slow
def test_the_spools_of_all_machines_are_added_up(calling, scraped, redis_client):
    away = calling(intake="store", database_url=NO_POSTGRES, redis_url=NO_REDIS)
    away.post(body())
    caller = calling(metrics_token="right", intake="store", database_url=NO_POSTGRES)
    _, alone = scraped(caller)
    assert alone["genlook_spool_batches"] == [({}, 1)]
    process = this_process("web", "")
    for pid in (1, 2):
        there = replace(process, host="another", pid=pid, spool_batches=7,
                        spool_oldest_at=time.time() - 600)  # fmt: skip
        redis_client.hset(keys.processes(), there.name, orjson.dumps(there))
    _, all_of_them = scraped(caller)
    assert all_of_them["genlook_spool_batches"] == [({}, 8)]
    assert 600 <= all_of_them["genlook_spool_oldest_seconds"][0][1] < 700


def test_redis_s_limit_is_shown_where_there_is_one(calling, scraped, redis_client):
    caller = calling(metrics_token="right")
    assert "genlook_redis_memory_limit_bytes" not in scraped(caller)[1]
    redis_client.config_set("maxmemory", 2**30)
    try:
        _, found = scraped(caller)
    finally:
        redis_client.config_set("maxmemory", 0)
    assert found["genlook_redis_memory_limit_bytes"] == [({}, 2**30)]
    assert 0 < found["genlook_redis_memory_bytes"][0][1] < 2**30


def test_prometheus_s_own_check_finds_nothing(calling, scraped):
    if not which("promtool"):
        pytest.skip("promtool is not installed: apt-get install prometheus")
    caller = calling(metrics_token="right")
    caller.post(body(event(), event(timestamp=None)))
    text, _ = scraped(caller)
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (checked.stdout + checked.stderr, checked.returncode) == ("", 0)


def test_a_failed_request_of_a_shopper_is_shown(calling, scraped, database):
    database.execute(
        "INSERT INTO privacy_requests (kind, shop_domain, source, requested_at, due_at) VALUES"
        " ('erase_customer', 'a-shop.myshopify.com', 'test', now(), '9999-01-01 00:00Z'),"
        " ('erase_customer', 'a-shop.myshopify.com', 'test', now(), NULL)"
    )
    _, found = scraped(calling(metrics_token="right"))
    states = {labels["state"]: value for labels, value in found["genlook_privacy_requests"]}
    assert (states["failed"], states["searching"], "closed" in states) == (1, 0, False)
