"""What a load takes, computed from what was measured (measured.json)."""

import json
from math import ceil
from pathlib import Path
from typing import NamedTuple

from app.store.connections import REPORT_POOL_SIZE, REQUEST_POOL_SIZE, WORKER_CONNECTIONS

MEASURED = json.loads(Path(__file__).with_name("measured.json").read_text())
RATES = (100, 300, 1_000, 3_000, 10_000, 30_000, 100_000)  # events/s

_BATCH = 1.6  # events
_BUSY = 0.6  # of a core, at the peak
_CORES = 4  # of a machine for web and workers
_PROCESSES = 4  # WEB_CONCURRENCY of such a machine
_COMMANDS = 2
_BACKLOG = 60 * 60  # s that a worker may be away
_REDIS_USED = 0.7  # of its memory; from 0.8 on seen ids are forgotten
_FEW_CONNECTIONS = 100  # Postgres's own default
_DAY = 86_400  # s


class Load(NamedTuple):
    """`rate` in events/s on average, `peak` times that at its highest; days that events are kept,
    seconds that ids are."""

    rate: float
    peak: float = 4.0
    days: int = 395
    window: int = 172_800


class Plan(NamedTuple):
    """Cores at the peak; bytes."""

    web_cores: float
    web_machines: int
    workers: int
    postgres_cores: float
    redis_cores: float
    disk_a_day: float
    disk: float
    seen_ids: float
    backlog: float
    redis: float
    connections: int


def plan(load: Load) -> Plan:
    batches = load.rate / _BATCH
    web = load.peak * batches * _value("web_us_a_batch") / 1e6 / _BUSY
    workers = load.peak * load.rate * _value("worker_us_an_event") / 1e6 / _BUSY
    machines, processes = max(2, ceil(web / _CORES)), max(2, ceil(workers))
    a_day = load.rate * _DAY * _value("disk_bytes_an_event")
    # A set of ids lives for a window and the half of one in which it is filled.
    seen_ids = load.rate * load.window * 1.5 * _value("seen_id_bytes")
    backlog = batches * _BACKLOG * _value("waiting_batch_bytes")
    return Plan(
        web,
        machines,
        processes,
        load.peak * load.rate * _value("postgres_us_an_event") / 1e6 / _BUSY,
        load.peak * batches * _value("redis_us_a_batch") / 1e6 / _BUSY,
        a_day,
        a_day * load.days,
        seen_ids,
        backlog,
        (seen_ids + backlog) / _REDIS_USED,
        machines * _PROCESSES * (REQUEST_POOL_SIZE + REPORT_POOL_SIZE)
        + processes * WORKER_CONNECTIONS
        + _COMMANDS,
    )


def lines(load: Load):
    """The plan for one load, each line with what it is computed from."""
    found = plan(load)
    yield (f"{load.rate:,g} events/s on average, {load.peak:g} times that at the peak, {_BATCH}"
           f" events a batch; no core is more than {_BUSY:.0%} busy then.")  # fmt: skip
    yield _line("web", f"{found.web_machines} machines of {_CORES} cores ({found.web_cores:.1f}"
                f" cores at the peak)", "web_us_a_batch", "web_process_mb")  # fmt: skip
    yield _line("worker", f"{found.workers} processes, a core each",
                "worker_us_an_event", "worker_process_mb")  # fmt: skip
    yield _line("Postgres", f"{found.postgres_cores:.1f} cores", "postgres_us_an_event")
    yield _line("disk", f"{_size(found.disk_a_day)} a day, {_size(found.disk)} in {load.days} days",
                "disk_bytes_an_event")  # fmt: skip
    yield _line("Redis", f"{found.redis_cores:.1f} cores", "redis_us_a_batch")
    yield _line("memory of Redis", f"{_size(found.redis)}: {_size(found.seen_ids)} of seen ids,"
                f" {_size(found.backlog)} for an hour without a worker",
                "seen_id_bytes", "waiting_batch_bytes")  # fmt: skip
    yield (f"connections: {found.connections}, of web {REQUEST_POOL_SIZE + REPORT_POOL_SIZE} a"
           f" process, of a worker {WORKER_CONNECTIONS} (app/store/connections.py)")  # fmt: skip
    for setting in _settings(load, found):
        yield f"set {setting}"


def table():
    """The same for several loads, as it stands in app/README.md."""
    rows = [
        "| events/s | web | workers | Postgres | Redis | disk a day, in 395 days | connections"
        " | set |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for rate in RATES:
        load = Load(rate)
        found = plan(load)
        settings = "; ".join(f"`{setting}`" for setting in _settings(load, found))
        rows.append(
            f"| {rate:,} | {found.web_machines} × {_CORES} cores | {found.workers} |"
            f" {found.postgres_cores:.1f} cores | {found.redis_cores:.1f} cores,"
            f" {_size(found.redis)} | {_size(found.disk_a_day)}, {_size(found.disk)} |"
            f" {found.connections} | {settings} |"
        )
    return "\n".join(rows)


def figures():
    """What all of it is computed from, as it stands there too."""
    return "\n".join(
        ["| measured | | by |", "| --- | --- | --- |"]
        + [
            f"| {one['what']} | {one['value']} {_unit(name)} | `{one['command']}` |"
            for name, one in MEASURED.items()
        ]
    )


def _settings(load, found):
    yield f"WEB_CONCURRENCY={_PROCESSES}"
    waiting = load.rate / _BATCH * _BACKLOG
    if waiting > 1_000_000:
        yield f"STREAM_MAX_BATCHES={ceil(waiting / 1e6)}000000"
    if found.redis_cores > 1:
        yield f"STREAM_PARTITIONS={2 ** ceil(found.redis_cores - 1).bit_length()}"
    if found.connections > _FEW_CONNECTIONS:
        yield f"max_connections={found.connections} or PgBouncer"


def _line(what, text, *names):
    each = "; ".join(
        f"{MEASURED[name]['value']:g} {_unit(name)} ({MEASURED[name]['command']})" for name in names
    )
    return f"{what}: {text}; from {each}"


def _value(name):
    return MEASURED[name]["value"]


def _unit(name):
    return "µs" if "_us_" in name else "MB" if name.endswith("_mb") else "bytes"


def _size(number):
    for unit, least in (("TB", 1e12), ("GB", 1e9)):
        if number >= least:
            return f"{number / least:.1f} {unit}"
    return f"{number / 1e6:.0f} MB"
