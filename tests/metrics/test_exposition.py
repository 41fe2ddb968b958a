"""What Prometheus reads of a system whose history is known, sample by sample."""

import time
from contextlib import contextmanager, nullcontext

import pytest
from redis import Redis

from app.health import metrics
from app.health.exposition import Family, counter, gauge, histogram, rendered
from app.health.figures import OfPostgres, OfRedis, ask_postgres, ask_redis
from app.health.status import Status, Waiting
from app.intake.nodes import Nodes
from app.metrics.histograms import COPIES, METRICS, REQUESTS, SIZES, STORES
from app.metrics.process import HOST, Process
from app.metrics.reading import Observed, Reported
from app.store.connections import connect


def samples(families):
    return [
        line.removeprefix("genlook_")
        for line in rendered(families).splitlines()
        if line[0] != "#"
    ]  # fmt: skip


def test_a_family_says_what_it_is_and_escapes_what_it_is_told():
    family = counter("a_total", "One\nline \\")
    family.add(1, {"name": 'a "b"\n\\', "other": 2})
    family.add(None, {"name": "not known"})
    family.add(2.5)
    assert rendered([family]) == (
        "# HELP a_total One\\nline \\\\\n"
        "# TYPE a_total counter\n"
        'a_total{name="a \\"b\\"\\n\\\\",other="2"} 1\n'
        "a_total 2.5\n"
    )
    assert rendered([gauge("a", "b"), Family("c", "gauge", "d")]) == ""
    assert "# TYPE a gauge" in rendered([gauge("a", "b", 0)])


def test_buckets_are_added_up_and_end_at_infinity():
    observed = Observed({"0.005": 2, "0.1": 3, "60": 1, "inf": 4}, 12.5)
    shown = samples([histogram(STORES, {(): observed})])
    name = "worker_store_duration_seconds"
    counts = [2, 2, 2, 2, 5, 5, 5, 5, 5, 5, 5, 5, 6, 10]
    bounds = ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "30",
              "60", "+Inf"]  # fmt: skip
    assert shown == [
        *(
            f'{name}_bucket{{le="{bound}"}} {count}'
            for bound, count in zip(bounds, counts, strict=True)
        ),
        f"{name}_sum 12.5",
        f"{name}_count 10",
    ]


def test_the_buckets_are_those_of_the_dashboard():
    """A changed bound would tear the curves of the releases before and after it apart."""
    of_transactions = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
    assert {metric.name.removeprefix("genlook_"): metric.bounds for metric in METRICS} == {
        "request_duration_seconds": (
            0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10
        ),
        "worker_store_duration_seconds": of_transactions,
        "worker_copy_duration_seconds": of_transactions,
        "worker_transaction_events": (1, 10, 100, 1_000, 10_000, 50_000),
    }  # fmt: skip
    assert (REQUESTS.labels, COPIES.labels, SIZES.labels) == (("route", "status"), (), ())


def test_of_a_status_each_number_is_shown():
    status = Status(
        backlog=Waiting(7, 8.5), redis_is_full=True, worker_seen_seconds=3.5, newer_batches=2,
        paused={"spool": 4.0, "store": 5.0},
    )  # fmt: skip
    assert samples(metrics._of_status(status)) == [
        'up{server="postgres"} 1',
        'up{server="redis"} 1',
        "backlog_batches 7",
        "backlog_oldest_seconds 8.5",
        "redis_full 1",
        "worker_seen_seconds 3.5",
        "newer_batches 2",
        'journal_paused_seconds{journal="spool"} 4.0',
        'journal_paused_seconds{journal="store"} 5.0',
    ]
    away = Status(postgres="OperationalError", redis="TimeoutError")
    assert samples(metrics._of_status(away)) == ['up{server="postgres"} 0', 'up{server="redis"} 0']
    empty = Status(backlog=Waiting())
    assert "backlog_oldest_seconds 0" in samples(metrics._of_status(empty))


def test_events_and_incidents_are_told_apart():
    status = Status(outcomes={"received": 9, "accepted": 7, "duplicate": 2, "spooled": 3,
                              "signature:stale": 1, "new_of_a_later_release": 5})  # fmt: skip
    assert samples(metrics._of_events(status)) == [
        'events_total{outcome="received"} 9',
        'events_total{outcome="accepted"} 7',
        'events_total{outcome="duplicate"} 2',
        'events_total{outcome="rejected"} 0',
        'events_total{outcome="rate_limited"} 0',
        'events_total{outcome="not_stored"} 0',
        'incidents_total{kind="fault"} 0',
        'incidents_total{kind="limits_skipped"} 0',
        'incidents_total{kind="new_of_a_later_release"} 5',
        'incidents_total{kind="signature:stale"} 1',
        'incidents_total{kind="spooled"} 3',
    ]


def test_a_machine_s_spool_counts_once_whichever_of_its_processes_tells():
    now = time.time()
    told = [
        Process(host="b", at=now - 5, spool_batches=100, spool_oldest_at=now - 1_000),
        Process(host="b", at=now, spool_batches=2, spool_oldest_at=now - 50),
        Process(host="c", at=now, spool_batches=3, spool_oldest_at=now - 90),
        Process(host="d", at=now),
        Process(host=HOST, at=now, spool_batches=1_000, spool_oldest_at=now - 5_000),
    ]
    batches, oldest = samples(metrics._of_spools(Waiting(1, 7.0), told))
    assert batches == "spool_batches 6"
    assert float(oldest.split()[1]) == pytest.approx(90, abs=2)
    assert samples(metrics._of_spools(Waiting(1, 700.0), told))[1] == "spool_oldest_seconds 700.0"
    assert samples(metrics._of_spools(Waiting(), [])) == [
        "spool_batches 0", "spool_oldest_seconds 0"
    ]  # fmt: skip


def test_of_each_process_its_own_numbers_are_shown():
    observed = {metric.name: {} for metric in METRICS}
    web = Process(kind="web", host="a", pid=1, started_at=5.0, memory_bytes=6, cpu_seconds=7.5,
                  connections=8, version="1", revision="r", python="3")  # fmt: skip
    worker = Process(kind="worker", host="a", pid=2, started_at=9.0, version="1", revision="r",
                     python="3")  # fmt: skip
    found = OfRedis(100, 200, Reported(observed, [web, web, worker]))
    of_web, of_worker = '{kind="web",host="a",pid="1"}', '{kind="worker",host="a",pid="2"}'
    build = 'version="1",revision="r",python="3"'
    assert samples(metrics._of_redis(found)) == [
        "redis_memory_bytes 100",
        "redis_memory_limit_bytes 200",
        f'build_info{{kind="web",{build}}} 1',
        f'build_info{{kind="worker",{build}}} 1',
        f"process_start_time_seconds{of_web} 5.0",
        f"process_start_time_seconds{of_web} 5.0",
        f"process_start_time_seconds{of_worker} 9.0",
        f"process_resident_memory_bytes{of_web} 6",
        f"process_resident_memory_bytes{of_web} 6",
        f"process_cpu_seconds_total{of_web} 7.5",
        f"process_cpu_seconds_total{of_web} 7.5",
        f"process_cpu_seconds_total{of_worker} 0.0",
        f"process_connections{of_web} 8",
        f"process_connections{of_web} 8",
    ]
    assert "redis_memory_limit_bytes" not in rendered(
        metrics._of_redis(OfRedis(100, None, Reported(observed, [])))
    )


def test_of_postgres_each_number_is_shown():
    found = OfPostgres(10, {"worker": 2, "web": 3}, 20, 1.5, {"failed": 1, "new": 4})
    assert samples(metrics._of_postgres(found)) == [
        "postgres_size_bytes 10",
        'postgres_connections{use="web"} 3',
        'postgres_connections{use="worker"} 2',
        "postgres_connections_limit 20",
        "reports_behind_seconds 1.5",
        'privacy_requests{state="exporting"} 0',
        'privacy_requests{state="failed"} 1',
        'privacy_requests{state="new"} 4',
        'privacy_requests{state="searching"} 0',
        'privacy_requests{state="settling"} 0',
        'privacy_requests{state="watching"} 0',
    ]


def test_a_server_that_goes_away_in_between_has_no_figures(database_url, redis_client):
    away = Nodes(Redis(port=1))
    assert ask_redis(away) is None
    found = ask_redis(Nodes(redis_client))
    assert (found.memory > 10**5, found.reported.processes) == (True, [])
    assert ask_postgres(lambda: connect("postgresql://127.0.0.1:1/nowhere", "tests")) is None
    with connect(database_url, "tests") as connection:
        found = ask_postgres(lambda: nullcontext(connection))
        assert found.size > 10**6
        assert found.connections["tests"] >= 1
        assert (found.reports_behind, found.privacy_requests) == (0.0, {})
        connection.execute("SET statement_timeout = 1")
        assert ask_postgres(lambda: _slow(connection)) is None


@contextmanager
def _slow(connection):
    connection.execute("SELECT pg_sleep(1)")
    yield connection
