"""Web and worker as processes on a real cluster: its slots are moved under load, its primaries
killed and frozen.

What asynchronous replication loses, no client can bring back (app/intake/README.md).
"""

import json
import time
import urllib.request
from contextlib import contextmanager

import pytest

from app.intake import keys
from tests.calls import CONTEXT, EVENT, PATH, query
from tests.campaigns.ledger import SHOPS, Ledger
from tests.processes.running import wait_until
from tests.redis_clusters import Cluster, cluster

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def module_cluster(tmp_path_factory):
    with cluster(tmp_path_factory.mktemp("cluster")) as made:
        yield made


@pytest.fixture
def three(module_cluster):
    """Three primaries, empty."""
    module_cluster.empty()
    return module_cluster


def post(web, shop, *ids, **fields):
    events = [EVENT | {"$insert_id": id_} | fields for id_ in ids]
    document = {"events": events, "context": CONTEXT}
    request = urllib.request.Request(
        f"{web.url}{PATH}?{query(shop=shop)}", json.dumps(document).encode()
    )
    with urllib.request.urlopen(request, timeout=5) as reply:
        assert reply.status == 200


def rows(database):
    return database.execute("SELECT shop_domain, insert_id FROM tracked_events").fetchall()


def test_partitions_are_raised_with_web_and_worker_running(
    three, start_web, start_worker, database
):
    old = start_web(REDIS_URL=three.url)
    start_worker(REDIS_URL=three.url)
    new = start_web(REDIS_URL=three.url, STREAM_PARTITIONS="8")
    shops = [f"shop-{number}.myshopify.com" for number in range(20)]
    for shop in shops:
        post(old, shop, "a", "b")
        post(new, shop, "b", "c")
    wait_until(lambda: len(rows(database)) == 60)
    assert sorted(rows(database)) == sorted((shop, id_) for shop in shops for id_ in "abc")
    wait_until(lambda: three.waiting() == 0)


BACK_WITHIN = 3.0  # s after the promotion
P99_MS = 300
MIB = 1024 * 1024
PARTITIONS = 16
OF_LEDGER = sorted({keys.partition(shop, PARTITIONS) for shop in SHOPS})


@contextmanager
def load(of, start_web, start_worker, database, record_property):
    """Of many clients; afterwards nothing is lost, and nothing twice. Yields the report, which is
    filled at the end."""
    variables = {"REDIS_URL": of.url, "STREAM_PARTITIONS": str(PARTITIONS)}
    web = start_web(**variables)
    start_worker(**variables)
    ledger, report = Ledger(web.port, seed=7), {}
    ledger.start(4)
    time.sleep(1)
    began = time.monotonic()
    yield report
    time.sleep(2)
    ledger.stop()
    report |= {"seconds": round(time.monotonic() - began + 1, 1)}
    wait_until(lambda: of.waiting() == 0, 30)
    report |= ledger.report(rows(database))
    record_property("report", report)
    print(report)  # noqa: T201
    assert report["acknowledged"] > 200, report
    assert (report["lost"], report["twice"], report["strangers"]) == (0, 0, 0), report
    assert {*report["replies"]} == {"200 success"}, report
    assert report["p99_ms"] < P99_MS, report


def test_a_worker_of_three_servers_stays_small_whatever_waits(
    three, start_web, start_worker, database
):
    variables = {"REDIS_URL": three.url, "STREAM_PARTITIONS": str(PARTITIONS)}
    no_limit = {f"RATE_LIMIT_VISITOR_{of}PER_MINUTE": "0" for of in ("", "BYTES_")}
    web = start_web(**variables, **no_limit)
    shops = [f"shop-{number}.myshopify.com" for number in range(12)]
    for number in range(12):
        for shop in shops:
            post(web, shop, *(f"{number}-{n}" for n in range(14)), properties={"a": "x" * 32_000})
    assert all(server.dbsize() for server in three.primaries)
    worker = start_worker(**variables)
    wait_until(lambda: three.waiting() == 0, 120)
    print(f"{worker.peak() / MIB:.0f} MiB")  # noqa: T201
    assert len(rows(database)) == 12 * 14 * len(shops)
    assert worker.peak() < 256 * MIB


def key_by_key(of, partition):
    of.move(partition, between=lambda: time.sleep(0.1))


@pytest.mark.parametrize("move", [key_by_key, Cluster.move_whole])
def test_slots_move_under_load(move, three, start_web, start_worker, database, record_property):
    with load(three, start_web, start_worker, database, record_property):
        for partition in OF_LEDGER * 2:
            move(three, partition)
            time.sleep(0.2)


def test_a_primary_is_killed_and_another_one_frozen_under_load(
    tmp_path, start_web, start_worker, database, record_property
):
    with cluster(tmp_path, replicas=3) as six:
        with load(six, start_web, start_worker, database, record_property) as report:
            for harm, partition in ((six.kill, OF_LEDGER[0]), (six.freeze, OF_LEDGER[-1])):
                old = six.owner(partition)
                began = time.monotonic()
                harm(old)
                wait_until(lambda old=old, one=partition: six.owner(one) is not old)
                promoted = time.monotonic()
                new = six.owner(partition)
                wait_until(lambda new=new: reads(new))
                back = time.monotonic() - promoted
                report[harm.__name__] = (round(promoted - began, 1), round(back, 1))
                assert back < BACK_WITHIN, report
        six.thaw(old)


def reads(server):
    """Whether the worker has read from it."""
    return server.info("commandstats").get("cmdstat_xreadgroup", {}).get("calls", 0) > 0
