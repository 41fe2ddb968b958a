"""What counting costs, and what one caller can make it cost: `python -m tests.bench count`."""

import os
import signal
import statistics
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import click
import psycopg

from app.counts import rollups
from app.dev.seed import Seed
from app.intake import keys
from app.store.connections import connect
from app.store.partitions import create_partitions
from app.store.writer import Writer
from tests.bench.processes import OURS, SECRET, Group
from tests.bench.visits import product_lover, traveller, visits

_STREAM = keys.stream(0)
_AT_ONCE = 100  # entries
_TIMEOUT = 900  # s
_KEPT_SIZE = (
    "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relkind = 'r'"
    " AND relnamespace = 'public'::regnamespace AND relname ~ '^report_'"
)


def burst(servers, folder):
    """38,000 events in 24,000 batches of 12,000 visits within 5 s, one worker."""
    _empty(servers)
    batches = visits(12_000, batches=2)
    with _worker(servers, folder) as worker:
        figures = _follow(servers, [worker], batches, seconds=5)
    click.echo(
        f"burst: {figures['events']:,} events in {len(batches):,} batches: the numbers are whole"
        f" {figures['whole_after']:.1f} s after the last one; {_costs(figures)}"
    )
    return figures


def cost(servers, folder):
    """36,000 small batches of 12,000 visits within 12 s, one worker."""
    _empty(servers)
    with _worker(servers, folder) as worker:
        figures = _follow(servers, [worker], visits(12_000, batches=3), seconds=12)
    click.echo(f"cost: of {figures['events']:,} events in three batches a visit: {_costs(figures)}")
    return figures


def apart(servers, folder):
    """The same visits stored by one writer, 700 batches at a time, then counted."""
    _empty(servers)
    batches = visits(12_000, batches=3)
    events = sum(len(batch.events) for batch in batches)
    each = {}
    with closing(connect(servers.database_url, "bench")) as connection:
        writer = Writer(statement_timeout=600_000)
        for what, work in {
            "storing": lambda: [writer.write(connection, some) for some in _chunks(batches, 700)],
            "counting": lambda: _count_all(connection),
        }.items():
            spent = _timed(connection, work)
            each[what] = {of: spent[of] / events * 1000 for of in ("python", "postgres")}
    click.echo(
        "apart: "
        + ", ".join(
            f"{what} {sum(of.values()):.1f} µs of processor time an event (Python"
            f" {of['python']:.1f}, Postgres {of['postgres']:.1f})"
            for what, of in each.items()
        )
    )
    return each


def shops(servers, folder):
    """The same visits, spread over 400 shops."""
    _empty(servers)
    with _worker(servers, folder) as worker:
        batches = visits(12_000, batches=3, shops=400)
        figures = _follow(servers, [worker], batches, seconds=12)
    click.echo(f"shops: of {figures['events']:,} events of 400 shops: {_costs(figures)}")
    return figures


def steady(servers, folder, seconds=40):
    """5,000 events/s for so long, one worker."""
    _empty(servers)
    batches = visits(int(5_000 * seconds / 4.8), batches=3)
    with _worker(servers, folder) as worker:
        figures = _follow(servers, [worker], batches, seconds=seconds)
    click.echo(
        f"steady: {figures['events'] / seconds:,.0f} events/s for {seconds} s: at most"
        f" {figures['behind']:.1f} s behind, whole {figures['whole_after']:.1f} s after;"
        f" {_costs(figures)}"
    )
    return figures


def sustained(servers, folder, rounds=5):
    """A backlog of 400,000 events, two workers: events/s until all is counted. Several times, each
    upon what the ones before have stored."""
    _empty(servers)
    rates = []
    for number in range(rounds):
        batches = visits(83_000, batches=3, shops=4, seed=number)
        _send(servers, batches)
        with _worker(servers, folder) as one, _worker(servers, folder) as other:
            figures = _follow(servers, [one, other], [], seconds=0)
        figures["events"] = sum(len(batch.events) for batch in batches)
        rates.append(figures["events"] / figures["whole_after"])
        cores = 2 / (sum(figures["cpu"].values()) / figures["events"])
        click.echo(
            f"sustained: two workers store and count {rates[-1]:,.0f} events/s of a backlog:"
            f" {_costs(figures)}, so that two cores of their own take {cores:,.0f} events/s"
        )
    return figures | {"rate": min(rates), "rates": rates, "of_two_cores": cores}


def one_more(servers, folder):
    """One more event of a visitor who has sent the most that counts."""
    _empty(servers)
    taken = {}
    with closing(connect(servers.database_url, "bench")) as connection:
        writer = Writer(statement_timeout=600_000)
        most = int(os.environ.get("MOST_EVENTS", 0)) or _most_events()

        def count():
            rollups.count_next(connection)

        for name, history in (
            ("products", product_lover(most - 40)),
            ("days", traveller(most - 40, days=390, client="d")),
            ("robot", product_lover(most + 50, client="r")),
        ):
            writer.write(connection, history)
            first = _timed(connection, count)
            click.echo(f"one more: {name}: the first time {first['wall'] / 1000:.2f} s")
            each = []
            for number in range(30):
                [batch] = product_lover(1, client=history[0].line.split(b"\t")[2].decode(),
                                        seed=number + 99)  # fmt: skip
                writer.write(connection, [batch])
                each.append(_timed(connection, count))
            taken[name] = {kind: statistics.median(one[kind] for one in each) for kind in first}
    for name, of_it in taken.items():
        click.echo(
            f"one more event: {name}: {of_it['python'] + of_it['postgres']:.1f} ms of processor"
            f" time (Python {of_it['python']:.1f}, Postgres {of_it['postgres']:.1f});"
            f" {of_it['wall']:.1f} ms by the clock, its commit included"
        )
    return taken


def _timed(connection, work):
    """Milliseconds by the clock, and of the processor."""
    backend = Path(f"/proc/{connection.info.backend_pid}/schedstat")

    def now():
        of_backend = int(backend.read_text().split()[0])  # ns
        return {"wall": time.perf_counter_ns(), "python": time.process_time_ns(),
                "postgres": of_backend}  # fmt: skip

    began = now()
    work()
    ended = now()
    return {kind: (ended[kind] - began[kind]) / 1e6 for kind in began}


def memory(servers, folder, visitors=60):
    """The most that a worker takes that finds 60 visitors at the bound, 1,000 whose 50 events lie
    on as many days, and 200,000 events of visits."""
    _empty(servers)
    most = min(int(os.environ.get("MOST_EVENTS", 0)) or _most_events(), 50_000)
    for number in range(visitors):
        _send(servers, product_lover(most - 1, client=f"v{number}", seed=number))
    for number in range(1_000):
        _send(servers, traveller(50, days=390, client=f"t{number}", seed=number))
    _send(servers, visits(40_000, batches=3, shops=50))
    with _worker(servers, folder) as worker:
        figures = _follow(servers, [worker], [], seconds=0)
    click.echo(f"memory: {max(figures['memory']) / 1e6:.0f} MB at most")
    return {"mb": max(figures["memory"]) / 1e6}


def sizes(servers, folder):
    """Bytes of cells and journeys against those of events and batches, for the worst inputs."""
    figures = {}
    for name, make in {
        "visits": lambda: visits(12_000, batches=3),
        "days": lambda: [b for n in range(400) for b in traveller(50, days=390, client=f"t{n}",
                                                                  seed=n)],
        "products": lambda: [b for n in range(20) for b in product_lover(900, client=f"p{n}",
                                                                         seed=n)],
        "long ago": lambda: traveller(15_000, days=15_000),
    }.items():  # fmt: skip
        _empty(servers)
        with closing(connect(servers.database_url, "bench")) as connection:
            for batches in _chunks(make(), 1_000):
                Writer(statement_timeout=600_000).write(connection, batches)
                _count_all(connection)
            connection.execute("VACUUM FULL")
            events = servers.bytes("events")
            kept = int(servers.value(_KEPT_SIZE))
        figures[name] = kept / events
        click.echo(f"bytes: {name}: {kept / 1e6:.2f} MB of {events / 1e6:.2f} MB of events:"
                   f" {kept / events:.2f} times")  # fmt: skip
    return figures


def rebuild(servers, folder, events=5_000_000):
    """A year of one shop counted anew, while another shop's events are stored and counted."""
    _empty(servers)
    with closing(connect(servers.database_url, "bench")) as connection:
        for back in range(0, 420, 28):
            create_partitions(connection, (datetime.now(UTC) - timedelta(days=back)).date())
        year = Seed("rebuilt.myshopify.com", until=datetime.now(UTC), products=500).batches(events)
        writer, stored = Writer(statement_timeout=600_000), 0
        while together := list(islice(year, 2_000)):
            stored += writer.write(connection, together)
        for table in _announcements(connection):
            connection.execute(f"TRUNCATE {table}")
        connection.execute("VACUUM ANALYZE")
        [shop_id] = connection.execute("SELECT id FROM shops").fetchone()
        with _worker(servers, folder) as worker:
            command = (f"import resource; from app.counts.rollups import rebuild;"
                       f"from app.store.connections import connect;"
                       f"rebuild(connect({servers.database_url!r}, 'bench'), {shop_id});"
                       f"print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)")  # fmt: skip
            began = time.monotonic()
            process = subprocess.Popen([sys.executable, "-c", command], stdout=subprocess.PIPE)
            behind = []
            while process.poll() is None:
                _follow(servers, [worker], visits(100, batches=3, seed=len(behind)), seconds=1,
                        behind=behind, wait=False)  # fmt: skip
            seconds = time.monotonic() - began
            most = int(process.stdout.read())
    click.echo(f"rebuild: {stored:,} events in {seconds:.0f} s and {most / 1000:.0f} MB; meanwhile"
               f" others were at most {max(behind):.1f} s behind")  # fmt: skip
    return {"seconds": seconds, "behind": max(behind), "mb": most / 1000}


LINES = {
    "cost": cost, "apart": apart, "burst": burst, "shops": shops, "steady": steady,
    "sustained": sustained, "one_more": one_more, "memory": memory, "sizes": sizes,
    "rebuild": rebuild,
}  # fmt: skip


def _most_events():
    from app.counts import journeys

    return journeys.MOST_EVENTS


def _announcements(connection):
    return [name for (name,) in connection.execute(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND pg_table_is_visible(oid)"
        " AND relname IN ('unreported_batches', 'report_news')")]  # fmt: skip


def _empty(servers):
    """No rows, and a Redis without entries."""
    with closing(psycopg.connect(servers.database_url, autocommit=True)) as connection:
        tables = [name for (name,) in connection.execute(
            "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition"
            " AND pg_table_is_visible(oid)"
            " AND relname ~ '^(report_|unreported|shops|stored_|contexts|events)'")]  # fmt: skip
        connection.execute(f"TRUNCATE {', '.join(tables)} RESTART IDENTITY")
    servers.redis.flushall()
    servers.checkpoint()


@contextmanager
def _worker(servers, folder):
    env = {
        "PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}",
        "DATABASE_URL": servers.database_url,
        "REDIS_URL": servers.redis_url,
        "SHOPIFY_API_SECRET": SECRET,
        "SPOOL_DIR": str(folder / "spool"),
    }
    with (folder / "worker.log").open("ab") as log:
        process = subprocess.Popen(f"exec {OURS.worker}", shell=True, cwd=OURS.folder, env=env,
                                   stdout=log, stderr=log, start_new_session=True)  # fmt: skip
    try:
        deadline = time.monotonic() + 30
        while not _consumers(servers.redis) and time.monotonic() < deadline:
            time.sleep(0.02)
        yield Group(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _consumers(redis):
    try:
        return redis.xinfo_groups(_STREAM)
    except Exception:  # noqa: BLE001 - no stream yet
        return []


def _follow(servers, workers, batches, *, seconds, behind=None, wait=True):
    """Send the batches evenly, and look on until all of them are stored and counted."""
    behind = [] if behind is None else behind
    memory = []
    groups = {"worker": workers, "postgres": [servers.groups["postgres"]]}
    used = {name: sum(one.cpu() for one in group) for name, group in groups.items()}
    began = time.monotonic()
    with closing(connect(servers.database_url, "bench")) as connection:

        def look():
            behind.append(rollups.seconds_behind(connection))
            memory.append(max(max(worker.memory()) for worker in workers))

        for number, some in enumerate(_chunks(batches, _AT_ONCE)):
            due = began + seconds * number * _AT_ONCE / len(batches)
            while (left := due - time.monotonic()) > 0:
                time.sleep(min(0.2, left))
            _send(servers, some)
            if number % 10 == 0:
                look()
        sent = time.monotonic()
        while wait and time.monotonic() - began < _TIMEOUT:
            time.sleep(0.05)
            look()
            if not servers.redis.xlen(_STREAM) and not behind[-1]:
                break
        whole_after = time.monotonic() - sent
    cpu = {name: sum(one.cpu() for one in group) - used[name] for name, group in groups.items()}
    return {
        "events": sum(len(batch.events) for batch in batches),
        "whole_after": whole_after,
        "behind": max(behind),
        "memory": memory,
        "cpu": cpu,
    }


def _costs(figures):
    each = {name: used / figures["events"] * 1e6 for name, used in figures["cpu"].items()}
    return (f"{sum(each.values()):.1f} µs of processor time an event (worker"
            f" {each['worker']:.1f}, Postgres {each['postgres']:.1f})")  # fmt: skip


def _send(servers, batches):
    """As a web process would have left them in the stream."""
    for some in _chunks(batches, _AT_ONCE):
        with servers.redis.pipeline(transaction=False) as pipeline:
            for batch in some:
                pipeline.xadd(_STREAM, batch.to_entry() | {b"news": batch.news})
            pipeline.execute()


def _chunks(items, size):
    return [items[start : start + size] for start in range(0, len(items), size)]


def _count_all(connection):
    while rollups.count_new(connection):
        pass
