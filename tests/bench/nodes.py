"""One stream, 64 streams, and a cluster of three, in turn: what each costs."""

from contextlib import contextmanager
from statistics import median

import click

from tests.bench.load import Load
from tests.bench.processes import OURS, Group
from tests.bench.runs import measure
from tests.redis_clusters import cluster

_SHOPS = 200
_WAYS = {"1 stream": 1, "64 streams": 64, "3 nodes, 1 stream": 1, "3 nodes, 48 streams": 48}


class _Three:
    """The processor time of a cluster's servers."""

    def __init__(self, servers):
        self._groups = [Group(server.pid) for server in servers]

    def cpu(self):
        return sum(group.cpu() for group in self._groups)


@contextmanager
def _redis_is(made, servers):
    one = servers.groups["redis"]
    servers.groups["redis"] = _Three(made.servers)
    made.empty()
    try:
        yield
    finally:
        servers.groups["redis"] = one


def nodes(servers, folder, rounds, seconds, sizes=(1, 5)):
    """Prints the table: processor time as a ratio to that of one stream on one server."""
    (folder / "cluster").mkdir(exist_ok=True)
    with cluster(folder / "cluster") as made:
        click.echo("| events a batch | | web: µs a batch | all: µs an event | to 1 stream |")
        click.echo("| --- | --- | --- | --- | --- |")
        for events in sizes:
            load = Load(events=events, seconds=seconds, shops=_SHOPS)
            web, total = ({way: [] for way in _WAYS} for _ in range(2))
            for number in range(rounds):
                for way in list(_WAYS)[:: 1 if number % 2 else -1]:
                    result = _measure(way, load, servers, folder, made)
                    web[way].append(result.cpu["web"] * events)
                    total[way].append(result.cpu_total)
            for way in _WAYS:
                ratios = [
                    median(a / b for a, b in zip(cost[way], cost["1 stream"], strict=True))
                    for cost in (web, total)
                ]
                cells = [" ".join(f"{one:.1f}" for one in cost[way]) for cost in (web, total)]
                told = ", ".join(f"{ratio:.3f}" for ratio in ratios)
                click.echo(f"| {events} | {way} | {cells[0]} | {cells[1]} | {told} |")


def _measure(way, load, servers, folder, made):
    partitions = {"STREAM_PARTITIONS": str(_WAYS[way])}
    if not way.startswith("3 nodes"):
        return measure(OURS, load, servers, folder, **partitions)
    with _redis_is(made, servers):
        return measure(OURS, load, servers, folder, REDIS_URL=made.url, **partitions)
