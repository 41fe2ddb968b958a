"""What /metrics shows. Units, names and types follow
https://prometheus.io/docs/practices/naming/."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace

from psycopg import Connection

from app.health.exposition import Family, counter, gauge, histogram, rendered
from app.health.figures import OfPostgres, OfRedis, ask_postgres, ask_redis
from app.health.status import Status, Waiting
from app.intake.nodes import Nodes
from app.intake.outcomes import EVENTS
from app.metrics.histograms import METRICS
from app.metrics.process import HOST, Process

# The outcomes of events; all other counts are of requests.
_OUTCOMES = ("received", *EVENTS)
# Shown before the first of them too, or its increase could not be told.
_INCIDENTS = ("fault", "limits_skipped", "spooled")
_PRIVACY_STATES = ("exporting", "failed", "searching", "settling", "watching")
_GLOBAL = "All-time and of all processes together: the same from every web process."


def exposed(
    status: Status, nodes: Nodes, connected: Callable[[], AbstractContextManager[Connection]]
) -> str:
    """Whatever cannot be read is left out."""
    of_redis = ask_redis(nodes) if status.redis == "up" else None
    of_postgres = ask_postgres(connected) if status.postgres == "up" else None
    processes = of_redis.reported.processes if of_redis else []
    families = [*_of_status(status), *_of_spools(status.spool, processes)]
    if of_redis:
        families += [*_of_events(status), *_of_redis(of_redis)]
    if of_postgres:
        families += _of_postgres(of_postgres)
    return rendered(families)


def _of_events(status: Status) -> Iterator[Family]:
    events = counter("genlook_events_total", f"Events by outcome. {_GLOBAL}")
    for outcome in _OUTCOMES:
        events.add(status.outcomes.get(outcome, 0), {"outcome": outcome})
    yield events
    incidents = counter(
        "genlook_incidents_total",
        f"Signatures refused by cause, events spooled or not limited, faults. {_GLOBAL}",
    )
    for name in sorted({*status.outcomes, *_INCIDENTS} - {*_OUTCOMES}):
        incidents.add(status.outcomes.get(name, 0), {"kind": name})
    yield incidents


def _of_status(status: Status) -> Iterator[Family]:
    up = gauge("genlook_up", "Whether the web process that answers reaches the server.")
    up.add(int(status.postgres == "up"), {"server": "postgres"})
    up.add(int(status.redis == "up"), {"server": "redis"})
    yield up
    waiting = status.backlog
    yield gauge(
        "genlook_backlog_batches",
        "Batches in Redis that no worker has stored yet.",
        None if waiting is None else waiting.batches,
    )
    yield gauge(
        "genlook_backlog_oldest_seconds",
        "For how long the oldest of them has waited.",
        None if waiting is None else waiting.oldest_seconds or 0,
    )
    yield gauge(
        "genlook_redis_full",
        "Whether Redis has no memory left: Postgres takes the batches then.",
        int(status.redis_is_full) if status.redis == "up" else None,
    )
    yield gauge(
        "genlook_worker_seen_seconds", "Since a worker was last seen.", status.worker_seen_seconds
    )
    yield gauge(
        "genlook_newer_batches",
        "Batches in Redis of a newer release, which wait for its worker.",
        status.newer_batches if status.redis == "up" else None,
    )
    paused = gauge("genlook_journal_paused_seconds", "Since when a failing journal is skipped.")
    for journal, seconds in status.paused.items():
        paused.add(seconds, {"journal": journal})
    yield paused


def _of_spools(own: Waiting, processes: list[Process]) -> Iterator[Family]:
    """Those of other machines are known through Redis only."""
    # All processes of a machine tell of the same spool; the last one counts.
    others = {one.host: one for one in sorted(processes, key=lambda one: one.at)}
    others.pop(HOST, None)
    ages = [time.time() - one.spool_oldest_at for one in others.values() if one.spool_oldest_at]
    whose = "of all web machines; while Redis is away, of the one that answers"
    yield gauge(
        "genlook_spool_batches",
        f"Batches that wait on the disks {whose}.",
        own.batches + sum(one.spool_batches for one in others.values()),
    )
    yield gauge(
        "genlook_spool_oldest_seconds",
        f"For how long the oldest batch has waited on the disks {whose}.",
        max(own.oldest_seconds or 0, *ages, 0),
    )


def _of_redis(found: OfRedis) -> Iterator[Family]:
    yield gauge("genlook_redis_memory_bytes", "Redis's memory in use.", found.memory)
    yield gauge(
        "genlook_redis_memory_limit_bytes",
        "How much memory Redis may use; left out where there is no limit.",
        found.memory_limit,
    )
    for metric in METRICS:
        text = f"{metric.help} {_GLOBAL}"
        yield histogram(replace(metric, help=text), found.reported.observed[metric.name])
    yield from _of_processes(found.reported.processes)


def _of_processes(processes: list[Process]) -> Iterator[Family]:
    build = gauge("genlook_build_info", "What runs: always 1.")
    started = gauge("genlook_process_start_time_seconds", "When the process started, Unix time.")
    memory = gauge("genlook_process_resident_memory_bytes", "The process's resident memory.")
    cpu = counter("genlook_process_cpu_seconds_total", "The process's processor time.")
    connections = gauge("genlook_process_connections", "Open connections of callers.")
    builds = {(one.kind, one.version, one.revision, one.python) for one in processes}
    for kind, version, revision, python in sorted(builds):
        labels = {"kind": kind, "version": version, "revision": revision, "python": python}
        build.add(1, labels)
    for one in processes:
        its = {"kind": one.kind, "host": one.host, "pid": one.pid}
        started.add(one.started_at, its)
        memory.add(one.memory_bytes, its)
        cpu.add(one.cpu_seconds, its)
        connections.add(one.connections, its)
    yield from (build, started, memory, cpu, connections)


def _of_postgres(found: OfPostgres) -> Iterator[Family]:
    yield gauge("genlook_postgres_size_bytes", "The database's size on disk.", found.size)
    connections = gauge(
        "genlook_postgres_connections", "Connections to Postgres, by what they are used for."
    )
    for name, number in sorted(found.connections.items()):
        connections.add(number, {"use": name})
    yield connections
    yield gauge(
        "genlook_postgres_connections_limit",
        "How many connections Postgres allows us.",
        found.connections_allowed,
    )
    yield gauge(
        "genlook_reports_behind_seconds",
        "For how long the oldest stored batch has waited to be counted in the reports.",
        found.reports_behind,
    )
    requests = gauge(
        "genlook_privacy_requests",
        "Requests of shoppers and merchants that are not closed, by state; watching ones are done.",
    )
    for state in sorted({*_PRIVACY_STATES, *found.privacy_requests}):
        requests.add(found.privacy_requests.get(state, 0), {"state": state})
    yield requests
