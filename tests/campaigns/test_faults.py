"""The failure table, row by row: real servers and processes, really killed, stopped and cut off.

The short form of what `test_campaign` does for as long as it is told to.
"""

import subprocess
import sys
import threading
import time

import psutil
import pytest

from tests.campaigns.tcp_proxy import BLACK_HOLE, LATE, PASS, REFUSE, RESET
from tests.processes.running import wait_until

# A request's limit is 1.5 s (README, Operations, has what was measured); this is for a machine with
# more to do, and still tells a hang.
pytestmark = pytest.mark.slow

LONGEST = 4_000  # ms
QUICK_WORKER = (
    f"{sys.executable} -c 'from app.worker import consumer, run; from config import settings;"
    " consumer.RECLAIM_AFTER = 1000; consumer.RECLAIM_EVERY = 0.5;"
    " run.run(settings.load_settings())'"
)


def start(system, **variables):
    system.start_web(**variables)
    system.start_worker(QUICK_WORKER)


def assert_exactly_once(system, ledger, seconds=40):
    ledger.stop()
    wait_until(lambda: ledger.is_settled(system), seconds)
    report = ledger.report(system.stored())
    assert report["acknowledged"] > 20, report
    assert (report["lost"], report["twice"], report["strangers"]) == (0, 0, 0), report
    assert not [status for status in report["replies"] if status.startswith("5")], report
    assert system.poisoned() == []
    return report


def test_web_killed_after_the_script_and_before_the_reply(system, ledger):
    start(system)
    ledger.start(4)
    time.sleep(0.5)
    for _ in range(3):
        system.to_redis.hold_at(b"")
        assert system.to_redis.held.wait(5)
        system.webs.pop().kill()
        system.to_redis.let_go()
        system.start_web()
        time.sleep(0.3)
    assert_exactly_once(system, ledger)


@pytest.mark.parametrize(
    "word", [b"COMMIT", b"EVALSHA"], ids=["before commit", "before acknowledging"]
)
def test_worker_killed(system, ledger, word):
    start(system)
    ledger.start(3)
    line = system.workers_to_postgres if word == b"COMMIT" else system.workers_to_redis
    for _ in range(3):
        time.sleep(0.3)
        line.hold_at(word)
        assert line.held.wait(10)
        system.workers.pop().kill()
        line.let_go()
        system.start_worker(QUICK_WORKER)
    assert_exactly_once(system, ledger)


def test_redis_killed_and_postgres_shut_down_at_once_under_load(system, ledger):
    start(system)
    ledger.start(4)
    for _ in range(2):
        time.sleep(0.5)
        with system.without_redis():
            time.sleep(0.5)
        time.sleep(0.3)
        with system.without_postgres():
            time.sleep(0.5)
    assert_exactly_once(system, ledger)


def rarely(*values):
    """The same way through the code as another one."""
    return pytest.param(*values, marks=pytest.mark.campaign)


@pytest.mark.parametrize(
    ("server", "intake", "fault"),
    [
        ("redis", "auto", REFUSE),
        rarely("redis", "auto", RESET),
        ("redis", "auto", BLACK_HOLE),
        rarely("redis", "auto", LATE),
        rarely("postgres", "store", REFUSE),
        ("postgres", "store", RESET),
        rarely("postgres", "store", BLACK_HOLE),
        ("postgres", "store", LATE),
    ],
)
def test_a_line_that_fails_costs_little_and_no_event(system, ledger, server, intake, fault):
    start(system, INTAKE=intake)
    line = system.to_redis if server == "redis" else system.to_postgres
    ledger.start(4)
    time.sleep(0.5)
    line.switch(fault)
    time.sleep(2)
    line.switch(PASS)
    time.sleep(0.5)
    report = assert_exactly_once(system, ledger)
    assert set(report["replies"]) == {"200 success"}, report
    assert report["max_ms"] < LONGEST, report


def test_both_servers_away_and_back_with_web_killed_in_between(system, ledger):
    start(system)
    ledger.start(4)
    time.sleep(0.5)
    with system.without_redis(), system.without_postgres():
        time.sleep(2)
        system.kill_web()
        time.sleep(1)
    report = assert_exactly_once(system, ledger)
    assert "200 NOT_STORED" not in report["replies"], report


@pytest.mark.parametrize("server", ["redis", "postgres"])
def test_a_server_that_stands_still_costs_little_and_no_event(system, ledger, server):
    start(system)
    ledger.start(4)
    time.sleep(0.5)
    process = system.redis_process() if server == "redis" else system.postgres_process()
    with system.frozen(process):
        time.sleep(2)
    report = assert_exactly_once(system, ledger)
    assert report["max_ms"] < LONGEST, report


def test_a_full_disk_is_not_stored_and_heals_by_itself(system, ledger, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    is_mounted = not subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], check=False, capture_output=True
    ).returncode
    # Where nobody may mount, the spool's own bound is the end of the disk.
    bound = {} if is_mounted else {"SPOOL_MAX_BYTES": "200000"}
    try:
        start(system, SPOOL_DIR=str(disk / "spool"), **bound)
        ledger.start(4)
        time.sleep(0.5)
        with system.without_redis(), system.without_postgres():
            wait_until(lambda: ledger.replies["200 NOT_STORED"] > 10, 40)
        time.sleep(1)
        assert_exactly_once(system, ledger)
        system.webs.pop().terminate()
    finally:
        if is_mounted:
            subprocess.run(["umount", disk], check=True)


def test_a_worker_that_slept_past_its_time_stores_nothing_twice(system, ledger):
    start(system)
    system.start_worker(QUICK_WORKER)
    ledger.start(4)
    for worker in system.workers:
        time.sleep(0.3)
        with system.frozen(psutil.Process(worker.process.pid)):
            time.sleep(2.5)
    assert_exactly_once(system, ledger)


def test_redis_emptied_in_the_middle_of_retries_stores_nothing_twice(system, ledger):
    start(system)
    ids = [f"retried-{number}" for number in range(10)]
    for _ in range(5):
        assert ledger.send("shop-0.myshopify.com", ids)
        wait_until(lambda: ledger.is_settled(system), 20)
        system.valkey.client().flushall()
    ledger.start(2)
    time.sleep(0.5)
    assert_exactly_once(system, ledger)


def test_200_connections_at_once_are_all_answered(system, ledger):
    start(system)
    barrier = threading.Barrier(200)

    def send(number):
        barrier.wait()
        assert ledger.send("shop-1.myshopify.com", [f"at-once-{number}", "shared"])

    threads = [threading.Thread(target=send, args=[number]) for number in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    report = assert_exactly_once(system, ledger)
    assert report["replies"] == {"200 success": 200}
