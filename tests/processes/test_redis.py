"""A Redis that may lose what it holds, changes under a running process, or comes back."""

import http.client
import json
import sys
import threading
import time
import urllib.request
from contextlib import closing

import psycopg
import pytest
import redis

from app.intake import keys
from tests.calls import PATH, body, event, query
from tests.campaigns.tcp_proxy import PASS, REFUSE, TcpProxy
from tests.processes.running import Running, answers, environment, flask, free_port, wait_until
from tests.redis_servers import KEEPS, ON_BOTH, VALKEY, redis_server

pytestmark = pytest.mark.slow

STREAM = keys.stream(0)
SUCCESS = b'{"success":true}'
QUICK_WEB = (
    f"{sys.executable} -c 'import sys; from app import intake; intake.ASK_EVERY = 0.5;"
    ' from gunicorn.app.wsgiapp import run; sys.argv = ["gunicorn", "--config",'
    ' "config/gunicorn.py", "app:create_app()"]; run()\''
)
QUICK_WORKER = (
    f"{sys.executable} -c 'from app.worker import consumer, run; from config import settings;"
    " consumer.RECLAIM_EVERY = 0.5; run.run(settings.load_settings())'"
)


@pytest.fixture
def quick_web(settings, tmp_path):
    """A web process that asks Redis twice a second what it asks every 30 s."""
    started = []

    def start(**variables):
        port = free_port()
        env = environment(settings, PORT=str(port), **variables)
        web = Running("web", env, tmp_path / f"quick-{len(started)}.log", QUICK_WEB)
        started.append(web)
        web.port, web.url = port, f"http://127.0.0.1:{port}"
        wait_until(lambda: answers(f"{web.url}/healthz"))
        return web

    yield start
    for web in started:
        web.kill()


def post(web, *events):
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=20)
    with closing(connection):
        connection.request("POST", f"{PATH}?{query()}", json.dumps(body(*events)))
        return connection.getresponse().read()


def readyz(web):
    with urllib.request.urlopen(f"{web.url}/readyz", timeout=5) as reply:
        return json.load(reply)


def stored(database):
    return {row[0] for row in database.execute("SELECT insert_id FROM tracked_events")}


def goes_first(web, client):
    """The journal that takes a batch now."""
    before = client.xlen(STREAM)
    assert post(web, event()) == SUCCESS
    return "stream" if client.xlen(STREAM) > before else "store"


@pytest.mark.parametrize("program", ON_BOTH)
def test_a_redis_that_evicts_loses_no_acknowledged_event(start_web, database, tmp_path, program):
    options = {"appendonly": "yes", "maxmemory": "6mb", "maxmemory-policy": "allkeys-lru"}
    with redis_server(program, tmp_path / "redis", **options) as client:
        web = start_web(REDIS_URL=client.url)
        acknowledged, stop = [], threading.Event()
        filling = threading.Thread(target=fill, args=[client, stop])
        filling.start()
        try:
            ends_at = time.monotonic() + 3
            while time.monotonic() < ends_at:
                one = event()
                if post(web, one) == SUCCESS:
                    acknowledged.append(one["$insert_id"])
        finally:
            stop.set()
            filling.join()
        assert client.info("stats")["evicted_keys"] > 100
        settings = {"REDIS_URL": client.url, "PORT": str(web.port)}
        worker = Running("worker", {**web.env, **settings}, tmp_path / "worker.log")
        try:
            wait_until(lambda: not client.exists(STREAM) or not client.xlen(STREAM))
        finally:
            worker.terminate()
    assert len(acknowledged) > 20
    assert set(acknowledged) <= stored(database)


def fill(client, stop):
    """Let the memory be full all the time."""
    number = 0
    while not stop.is_set():
        with client.pipeline(transaction=False) as pipeline:
            for _ in range(20):
                number += 1
                pipeline.set(f"ballast:{number}", b"x" * 20_000, ex=1_000)
            try:
                pipeline.execute()
            except redis.RedisError:
                time.sleep(0.01)


def test_a_redis_that_evicts_is_told_everywhere(start_web, settings, tmp_path):
    with redis_server(VALKEY, tmp_path / "redis", **KEEPS) as client:
        client.config_set("maxmemory-policy", "allkeys-lfu")
        web = start_web(REDIS_URL=client.url)
        post(web, event())
        risk = "may evict keys (maxmemory-policy allkeys-lfu)"
        assert readyz(web)["redis_risk"] == risk
        assert readyz(web)["status"] == "ok"
        line = next(line for line in web.output().splitlines() if "intake_order" in line)
        assert (json.loads(line)["stream_first"], json.loads(line)["redis_risk"]) == (False, risk)
        assert f"up, {risk}" in flask(settings, "status", REDIS_URL=client.url).stdout
        checked = flask(settings, "check", REDIS_URL=client.url)
        assert "set maxmemory-policy noeviction" in checked.stdout
        assert checked.returncode == 1


def test_a_stream_that_must_come_first_is_degraded_where_redis_may_lose_it(start_web, tmp_path):
    with redis_server(VALKEY, tmp_path / "redis", **KEEPS) as client:
        web = start_web(REDIS_URL=client.url, INTAKE="stream")
        assert readyz(web)["status"] == "ok"
        client.config_set("appendonly", "no")
        assert readyz(web)["status"] == "degraded"
        assert goes_first(web, client) == "stream"


@pytest.mark.parametrize("program", ON_BOTH)
@pytest.mark.parametrize(
    ("name", "bad"), [("appendonly", "no"), ("maxmemory-policy", "allkeys-random")]
)
def test_a_redis_that_changes_at_run_time_changes_the_order_and_back(
    quick_web, tmp_path, program, name, bad
):
    with redis_server(program, tmp_path / "redis", **KEEPS) as client:
        web = quick_web(REDIS_URL=client.url, WEB_CONCURRENCY="1")
        assert goes_first(web, client) == "stream"
        for value, first in ((bad, "store"), (KEEPS[name], "stream")):
            client.config_set(name, value)
            wait_until(lambda first=first: goes_first(web, client) == first, 10)
            assert {goes_first(web, client) for _ in range(20)} == {first}


@pytest.mark.parametrize("program", ON_BOTH)
def test_a_failover_to_a_redis_that_keeps_nothing_is_noticed_at_the_first_batch(
    start_web, tmp_path, program
):
    port = free_port()
    web = start_web(REDIS_URL=f"redis://127.0.0.1:{port}", WEB_CONCURRENCY="1")
    with redis_server(program, tmp_path / "one", port, **KEEPS) as client:
        wait_until(lambda: goes_first(web, client) == "stream")
    with redis_server(program, tmp_path / "two", port, appendonly="no") as client:
        assert {goes_first(web, client) for _ in range(20)} == {"store"}
        assert client.xlen(STREAM) == 0


def test_ready_again_without_traffic_after_both_servers_were_away(
    start_web, settings, redis_url, database
):
    host = psycopg.conninfo.conninfo_to_dict(settings.database_url)
    to_postgres = TcpProxy(f"{host['host']}/.s.PGSQL.5432")
    to_redis = TcpProxy(("127.0.0.1", int(redis_url.rpartition(":")[2].partition("/")[0])))
    with closing(to_postgres), closing(to_redis):
        web = start_web(
            DATABASE_URL=f"postgresql://postgres@127.0.0.1:{to_postgres.port}/{host['dbname']}",
            REDIS_URL=f"redis://127.0.0.1:{to_redis.port}",
            WEB_CONCURRENCY="1",
        )
        assert post(web, event(insert_id="a")) == SUCCESS
        wait_until(lambda: readyz(web)["status"] == "ok")
        for line in (to_postgres, to_redis):
            line.switch(REFUSE)
        assert {post(web, event()) for _ in range(10)} == {SUCCESS}
        for line in (to_postgres, to_redis):
            line.switch(PASS)
        wait_until(lambda: list(readyz(web)["paused"]) != [])
        wait_until(lambda: readyz(web)["status"] == "ok", 30)
        assert readyz(web)["spool"]["batches"] == 0


@pytest.mark.parametrize("program", ON_BOTH)
def test_an_idle_worker_is_seen(settings, tmp_path, program):
    with redis_server(program, tmp_path / "redis", **KEEPS) as client:
        env = environment(settings, REDIS_URL=client.url)
        worker = Running("worker", env, tmp_path / "worker.log", QUICK_WORKER)
        try:
            wait_until(lambda: client.exists(STREAM) and consumers(client))
            time.sleep(4)
            assert max(one["idle"] for one in consumers(client)) < 2_500
            status = json.loads(flask(settings, "status", "--json", REDIS_URL=client.url).stdout)
            assert status["worker_seen_seconds"] < 2.5
        finally:
            worker.terminate()
        assert consumers(client) == []


def consumers(client):
    try:
        return client.xinfo_consumers(STREAM, keys.GROUP)
    except redis.ResponseError:
        return []
