"""`python -m tests.bench`: what an accepted event costs, ours beside what others would write."""

import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

import click

from tests.bench import bytes as sizes
from tests.bench import count as counting
from tests.bench import growth, planning, report
from tests.bench.compare import compare, half_load
from tests.bench.load import LoadError
from tests.bench.nodes import nodes
from tests.bench.processes import (
    BUN,
    EMPTY_FLASK,
    EXPRESS,
    FASTAPI,
    FASTIFY,
    FLASK,
    JAVASCRIPT,
    OURS,
)
from tests.bench.replication import replication
from tests.bench.servers import running_servers
from tests.bench.versus import versus

_ALL = {
    "ours": OURS,
    "express": EXPRESS,
    "fastify": FASTIFY,
    "bun": BUN,
    "fastapi": FASTAPI,
    "flask": FLASK,
    "empty": EMPTY_FLASK,
}


@click.group()
def main():
    """Benchmarks on embedded servers, with real processes, over loopback.

    Figures are worth something beside each other, in one run on one machine. Needs wrk, and npm
    for those in JavaScript; on Debian: apt-get install wrk npm.
    """


@main.command()
@click.option("--rounds", default=2, show_default=True, help="Each contender's turns.")
@click.option("--seconds", default=4, show_default=True, help="Of load in each run.")
@click.option(
    "--only", multiple=True, type=click.Choice(list(_ALL)), help="Contenders; all by default."
)
@click.option("--quick", is_flag=True, help="16 connections only, and no run with repeats.")
@click.option("--data", type=click.Path(path_type=Path), help="Folder; a temporary one by default.")
def run(rounds, seconds, only, quick, data):
    """Load on every contender in turn: rates, latencies, processor time, memory, disk.

    Takes about 14 s for each contender, load and round: 24 minutes for everything, 6 with --quick
    --rounds 1. The cost of ours includes counting for the reports, until nothing is left to count.
    The table is printed, the figures go to .dev/bench.json.
    """
    contenders = [_ALL[name] for name in only or _ALL]
    with _servers(data) as (servers, folder):
        if any(one.folder == JAVASCRIPT for one in contenders) and not _install_javascript():
            contenders = [one for one in contenders if one.folder != JAVASCRIPT]
        results = compare(contenders, servers, folder, rounds, seconds, quick=quick)
        steady = half_load(OURS, servers, folder, seconds)
        worker = growth.worker_against_copy(servers, folder, batches=50_000)
    report.show(results, steady, worker)


@main.command()
@click.option("--rows", default=50_000_000, show_default=True, help="Stored before the last part.")
@click.option("--data", type=click.Path(path_type=Path), help="Folder; a temporary one by default.")
def grow(rows, data):
    """Cost as the data grows: stored rows, shops, seen ids, a backlog of a million events.

    50 million rows take about 15 GB of disk and 15 minutes. Figures go to .dev/bench-growth.json.
    """
    with _servers(data) as (servers, folder):
        report.save("bench-growth.json", growth.run(servers, folder, rows))


@main.command()
@click.option("--minutes", default=60, show_default=True)
@click.option("--data", type=click.Path(path_type=Path), help="Folder; a temporary one by default.")
def soak(minutes, data):
    """Memory of the web process under load for a long time, minute by minute."""
    with _servers(data) as (servers, folder):
        report.save("bench-soak.json", growth.soak(servers, folder, minutes))


@main.command("versus")
@click.argument("other", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--rounds", default=5, show_default=True, help="Turns of each at each size.")
@click.option("--seconds", default=3, show_default=True, help="Of load in each run.")
@click.option("--data", type=click.Path(path_type=Path), help="Folder; a temporary one by default.")
def versus_(other, rounds, seconds, data):
    """This checkout beside OTHER (with its own .venv), in turn: web's processor time a batch."""
    with _servers(data) as (servers, folder):
        versus(servers, folder, other, rounds, seconds)


@main.command("nodes")
@click.option("--rounds", default=5, show_default=True, help="Turns of each at each size.")
@click.option("--seconds", default=3, show_default=True, help="Of load in each run.")
@click.option("--data", type=click.Path(path_type=Path), help="Folder; a temporary one by default.")
def nodes_(rounds, seconds, data):
    """One stream, 64 streams on one server, and a cluster of three, in turn: processor time."""
    with _servers(data) as (servers, folder):
        nodes(servers, folder, rounds, seconds)


@main.command("replication")
@click.option("--rounds", default=8, show_default=True, help="Failovers of each kind.")
def replication_(rounds):
    """What a failover of Redis loses, and what it costs to wait for replicas."""
    with tempfile.TemporaryDirectory(prefix="genlook-bench-") as folder:
        replication(Path(folder), rounds)


@main.command()
@click.option("--only", multiple=True, type=click.Choice(list(counting.LINES)))
@click.option("--rebuild-events", default=5_000_000, show_default=True)
@click.option("--data", type=click.Path(path_type=Path), help="Folder; a temporary one by default.")
def count(only, rebuild_events, data):
    """Storing and counting: what ordinary visits cost, and the most that one caller can cost.

    Takes 5 minutes, and as long again for the rebuild. Figures go to .dev/bench-count.json.
    """
    with _servers(data) as (servers, folder):
        figures = {}
        for name in only or counting.LINES:
            more = {"events": rebuild_events} if name == "rebuild" else {}
            figures[name] = counting.LINES[name](servers, folder, **more)
    report.save("bench-count.json", figures)


@main.command("bytes")
@click.option("--visitors", default=20_000, show_default=True, help="4.8 events each.")
@click.option("--data", type=click.Path(path_type=Path), help="Folder; a temporary one by default.")
def bytes_(visitors, data):
    """What an event of ordinary visits takes on disk, by table; an id and a batch in Redis.

    Takes half a minute. Figures go to .dev/bench-bytes.json.
    """
    with _servers(data) as (servers, _):
        report.save("bench-bytes.json", sizes.measure(servers, visitors))


@main.command("plan")
@click.option("--events-per-second", type=click.FloatRange(min=0.01), help="On average.")
@click.option("--peak", default=4.0, show_default=True, help="Times the average, at its highest.")
@click.option("--days", default=395, show_default=True, help="EVENT_RETENTION_DAYS.")
@click.option("--window", default=172_800, show_default=True, help="DEDUP_WINDOW_SECONDS.")
def plan(events_per_second, peak, days, window):
    """What a load takes: machines, disk, memory, connections. Without a load, the README's table.

    From the figures in tests/bench/measured.json, each with the command that measures it again.
    """
    if events_per_second is None:
        click.echo(planning.table())
    else:
        load = planning.Load(events_per_second, peak, days, window)
        click.echo("\n".join(planning.lines(load)))


@contextmanager
def _servers(data):
    # Not below our own folder: as root, Postgres runs as another user, who must get in here.
    folder = data or Path(tempfile.mkdtemp(prefix="genlook-bench-"))
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    try:
        with running_servers(folder) as servers:
            yield servers, folder
    except LoadError as error:
        raise click.ClickException(str(error)) from error
    finally:
        if not data:
            shutil.rmtree(folder, ignore_errors=True)


def _install_javascript():
    if not shutil.which("npm"):
        click.echo("Those in JavaScript are left out: npm is not installed.")
        return False
    command = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--silent"]
    subprocess.run(command, cwd=JAVASCRIPT, check=True)
    return True


if __name__ == "__main__":
    main()
