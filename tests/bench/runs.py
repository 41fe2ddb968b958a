"""One run: a contender under a load, until the last row is in Postgres, and counted."""

import time
from dataclasses import asdict, dataclass, field, replace

from tests.bench.load import LoadError, run_load
from tests.bench.processes import running

_DRAIN_TIMEOUT = 120  # s


@dataclass
class Result:
    contender: str
    load: dict
    batches_per_s: float
    events_per_s: float = 0.0  # counted until the last row is stored
    p50: float = 0.0  # ms
    p99: float = 0.0  # ms
    cpu: dict = field(default_factory=dict)  # µs per event, by process
    memory: dict = field(default_factory=dict)  # MB, resident, of each process
    bytes_per_event: float = 0.0  # on disk, with indexes

    @property
    def cpu_total(self):
        return sum(self.cpu.values())


def measure(contender, load, servers, folder, **variables):
    """Prepare, warm up, run, wait for the last row and for the reports' numbers. LoadError where a
    row is missing or too many, or a request failed."""
    servers.prepare()
    with running(contender, servers, folder, **variables) as (port, groups):
        warm_up = _run(contender, replace(load, seconds=2, pause=0), port, folder)
        before = _await_rows(servers, contender.table, warm_up["ids"])
        if contender.worker:
            servers.await_counts(_DRAIN_TIMEOUT)
        size = servers.bytes(contender.table) if contender.table else 0
        servers.checkpoint()

        everything = {**groups, **servers.groups}
        used = {name: group.cpu() for name, group in everything.items()}
        began = time.monotonic()
        sent = _run(contender, load, port, folder)
        replied = time.monotonic() - began
        after = _await_rows(servers, contender.table, before + sent["ids"])
        # The load ends with a pause of its own, in which our worker may have finished.
        waited = max(0.0, time.monotonic() - began - replied)
        if contender.worker:
            servers.await_counts(_DRAIN_TIMEOUT)
        servers.checkpoint()
        seconds = load.seconds + waited
        ids = sent["ids"]
        return Result(
            contender.title,
            asdict(load),
            batches_per_s=sent["batches"] / load.seconds,
            events_per_s=ids / seconds,
            p50=sent["p50"],
            p99=sent["p99"],
            cpu={
                name: (group.cpu() - used[name]) / ids * 1e6 for name, group in everything.items()
            },
            memory={
                name: [round(size / 1e6, 1) for size in group.memory()]
                for name, group in groups.items()
            },
            bytes_per_event=(
                (servers.bytes(contender.table) - size) / (after - before) if contender.table else 0
            ),
        )


def _run(contender, load, port, folder):
    sent = run_load(load, port, folder)
    if sent["errors"] or sent["answered"] != sent["batches"]:
        log = (folder / "web.log").read_text()
        raise LoadError(f"{contender.title}: not every request succeeded: {sent}\n{log[-2000:]}")
    return sent


def _await_rows(servers, table, expected):
    """Exactly as many rows as distinct ids were sent."""
    if table is None:
        return expected
    deadline = time.monotonic() + _DRAIN_TIMEOUT
    while (rows := servers.rows(table)) < expected:
        if time.monotonic() > deadline:
            raise LoadError(f"{expected - rows:,} of {expected:,} rows are missing")
        time.sleep(0.05)
    if rows > expected:
        raise LoadError(f"{rows - expected:,} rows more than ids were sent")
    return rows
