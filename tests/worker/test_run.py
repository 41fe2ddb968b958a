"""The worker's process in this one: it stores, keeps house, counts, and stops in stages."""

import gc
import os
import signal
import sys
import threading
import time
from dataclasses import replace

import pytest

from app.intake import keys
from app.metrics.reporter import MICRO
from app.worker import run as run_module
from app.worker import signals
from app.worker.signals import stop_on_signals
from tests.bench.visits import visits
from tests.calls import body, event
from tests.processes.running import wait_until
from tests.redis_servers import KEEPS, VALKEY, redis_server


@pytest.fixture(autouse=True)
def as_before():
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    interval, thresholds = sys.getswitchinterval(), gc.get_threshold()
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)
    sys.setswitchinterval(interval)
    gc.set_threshold(*thresholds)


def send(number):
    os.kill(os.getpid(), number)


def beside(*steps):
    """Does the steps on a thread, and sends SIGTERM then, whatever came of them."""
    failed = []

    def go():
        try:
            for step in steps:
                step()
        except AssertionError as error:
            failed.append(error)
        finally:
            send(signal.SIGTERM)

    thread = threading.Thread(target=go)
    thread.start()
    return thread, failed


def test_it_stores_counts_and_leaves_nothing_behind(
    settings, caller, database, database_url, redis_client, said, monkeypatch
):
    monkeypatch.setattr("app.worker.reporting._QUIET", 0.0)
    before, seen = set(threading.enumerate()), {}

    def is_counted():
        return database.execute("SELECT 1 FROM report_counts LIMIT 1").fetchone()

    def look():
        seen["threads"] = {one.name for one in threading.enumerate()}
        rows = database.execute(
            "SELECT DISTINCT application_name FROM pg_stat_activity"
            " WHERE datname = current_database()"
        )
        seen["connections"] = {name for (name,) in rows}
        seen["workers"] = len(redis_client.xinfo_consumers("{t0}:stream", keys.GROUP))
        seen["processes"] = redis_client.hgetall(keys.processes())
        seen["interval"], seen["gc"] = sys.getswitchinterval(), gc.get_threshold()

    caller.post(body(event(), event()))
    thread, failed = beside(
        lambda: wait_until(is_counted),
        lambda: wait_until(lambda: redis_client.hlen(keys.processes())),
        lambda: wait_until(lambda: not redis_client.xlen("{t0}:stream")),
        look,
    )
    run_module.run(settings)
    thread.join()
    assert not failed, failed
    assert database.execute("SELECT count(*) FROM events").fetchone() == (2,)
    assert seen["connections"] >= {
        f"genlook {name}" for name in ("worker", "reporting", "recounting", "housekeeping")
    }
    assert (seen["workers"], len(seen["processes"])) == (1, 1)
    [told] = seen["processes"].values()
    assert b'"worker"' in told
    assert seen["interval"] == pytest.approx(0.0002)
    assert seen["gc"][:2] == (100_000, 50)
    # Its figures are carried on, and it is gone from all lists.
    observed = {
        name.decode(): int(number)
        for name, number in redis_client.hgetall(keys.observations()).items()
    }
    sums = {name: number for name, number in observed.items() if name.endswith("sum")}
    assert len(sums) == 3
    assert 2 * MICRO in sums.values()  # events to a transaction
    assert redis_client.hgetall(keys.processes()) == {}
    assert redis_client.xinfo_consumers("{t0}:stream", keys.GROUP) == []

    def left():
        return {one.name for one in set(threading.enumerate()) - before if one.is_alive()}

    wait_until(lambda: left() <= {"store_0", "store_1", "store_2"})  # one takes a moment to end
    assert said("worker_started") == said("worker_stopped") == [("INFO",)]

    def names():
        rows = database.execute(
            "SELECT application_name FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name ~ 'worker|reporting|recounting|housekeeping'"
        )
        return rows.fetchall()

    wait_until(lambda: names() == [])
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN


def test_on_a_cluster_it_reads_the_streams_of_several_slots(settings, database, tmp_path):
    batches = visits(2, batches=1)
    with redis_server(VALKEY, tmp_path / "one", **KEEPS, **{"cluster-enabled": "yes"}) as server:
        server.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
        wait_until(lambda: server.cluster("info")["cluster_state"] == "ok")
        for partition, batch in enumerate(batches):
            server.xadd(keys.stream(partition), batch.to_entry())
        thread, failed = beside(
            lambda: wait_until(lambda: not sum(map(server.xlen, map(keys.stream, range(2)))))
        )
        run_module.run(replace(settings, redis_url=server.url, stream_partitions=2))
        thread.join()
    assert not failed, failed
    assert database.execute("SELECT count(*) FROM batches").fetchone() == (2,)


def test_a_signal_sets_the_event_once_and_a_repeated_one_changes_nothing(monkeypatch):
    ended = []
    monkeypatch.setattr(signals, "STOP_TIMEOUT", 0.2)
    monkeypatch.setattr(signals.os, "_exit", ended.append)
    for number in (signal.SIGTERM, signal.SIGINT):
        with stop_on_signals() as stop:
            assert not stop.is_set()
            send(number)
            send(number)
            assert stop.is_set()
            send(signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    time.sleep(0.4)
    assert ended == []  # it was in time


def test_without_a_signal_the_handlers_that_were_there_are_back():
    found = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with stop_on_signals() as stop:
        assert signal.getsignal(signal.SIGTERM) is not found[0]
        assert signal.getsignal(signal.SIGINT) is not found[1]
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == found
    assert not stop.is_set()


def test_where_something_hangs_the_process_ends_all_the_same(monkeypatch, said):
    ended = []
    monkeypatch.setattr(signals, "STOP_TIMEOUT", 0.05)
    monkeypatch.setattr(signals.os, "_exit", ended.append)
    with stop_on_signals():
        send(signal.SIGTERM)
        wait_until(lambda: ended)
    assert ended == [1]
    assert said("worker_gives_up") == [("WARNING",)]
    assert all(not one.name.startswith("Timer") or one.daemon for one in threading.enumerate())
