"""3 primaries and 3 replicas under load and random faults, for as long as it is told to.

pytest -m campaign tests/campaigns/test_cluster.py --campaign-minutes 5 --campaign-seed 7
"""

import random
import time
from collections import Counter

import pytest

from app.intake import keys
from tests.campaigns.ledger import SHOPS, Ledger
from tests.processes.running import Running, answers, environment, free_port, wait_until
from tests.redis_clusters import cluster
from tests.redis_servers import ON_BOTH, port_of

pytestmark = [pytest.mark.campaign, pytest.mark.slow, pytest.mark.timeout(0)]

PARTITIONS = 16
OF_LEDGER = sorted({keys.partition(shop, PARTITIONS) for shop in SHOPS})


@pytest.fixture
def start(settings, tmp_path):
    """Starts web and worker at the address of a Redis; returns web's port."""
    started = []

    def start(url):
        port = free_port()
        env = environment(
            settings, REDIS_URL=url, STREAM_PARTITIONS=str(PARTITIONS), PORT=str(port)
        )
        started.extend(Running(line, env, tmp_path / line) for line in ("web", "worker"))
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/healthz"))
        return port

    yield start
    for process in started:
        process.kill()


@pytest.mark.parametrize("program", ON_BOTH)
def test_random_faults_of_a_cluster(program, tmp_path, start, database, pytestconfig):
    rng = random.Random(pytestconfig.getoption("campaign_seed"))
    end = time.monotonic() + 60 * pytestconfig.getoption("campaign_minutes")
    faults = Counter()
    with cluster(tmp_path, program=program, replicas=3) as six:
        ledger = Ledger(start(six.url), seed=7)
        ledger.start(4)
        while time.monotonic() < end:
            fault = rng.choice([move, move, freeze, hand_over])
            fault(six, rng.choice(OF_LEDGER), rng)
            faults[fault.__name__] += 1
            time.sleep(rng.random() * 2)
        ledger.stop()
        wait_until(lambda: six.waiting() == 0, 60)
        report = ledger.report(stored(database)) | {"faults": dict(faults)}
    print(report)
    assert (report["lost"], report["twice"], report["strangers"]) == (0, 0, 0), report
    assert {*report["replies"]} == {"200 success"}, report
    assert report["p99_ms"] < 300, report


def stored(database):
    return database.execute("SELECT shop_domain, insert_id FROM tracked_events").fetchall()


def move(six, partition, rng):
    six.move(partition, between=lambda: time.sleep(rng.random() / 2))


def freeze(six, partition, rng):
    """Long enough for its replica to be promoted, or not."""
    server = six.owner(partition)
    six.freeze(server)
    time.sleep(rng.random() * 4)
    six.thaw(server)
    wait_until(six.is_whole, 30)


def hand_over(six, partition, rng):
    """The replica takes over from a primary that is well."""
    old = six.owner(partition)
    for replica in six.servers:
        info = replica.info("replication")
        if info["role"] == "slave" and info["master_port"] == port_of(old):
            replica.execute_command("CLUSTER FAILOVER")
            wait_until(six.is_whole, 30)
            return
