"""This checkout beside another one of the same project, in turn: what a batch costs the web
process."""

from dataclasses import replace
from pathlib import Path
from statistics import median

import click

from tests.bench.load import Load
from tests.bench.processes import OURS, PROCFILE
from tests.bench.runs import measure


def versus(servers, folder, other: Path, rounds, seconds):
    """Prints the table; the other checkout has an environment of its own in `.venv`."""
    programs = other.resolve() / ".venv" / "bin"
    that = replace(
        OURS,
        title="other",
        web=f"{programs}/{PROCFILE['web']}",
        worker=f"{programs}/{PROCFILE['worker']}",
        folder=other.resolve(),
    )
    click.echo("| events a batch | this: µs of web a batch | other | this to other |")
    click.echo("| --- | --- | --- | --- |")
    for events in (1, 5, 50):
        load = Load(events=events, seconds=seconds)
        costs = {"ours": [], "other": []}
        for number in range(rounds):
            for contender in (OURS, that) if number % 2 else (that, OURS):
                result = measure(contender, load, servers, folder)
                costs[contender.title].append(result.cpu["web"] * events)
        ratio = median(
            ours / others for ours, others in zip(costs["ours"], costs["other"], strict=True)
        )
        ours, others = (" ".join(f"{cost:.1f}" for cost in costs[name]) for name in costs)
        click.echo(f"| {events} | {ours} | {others} | {ratio:.3f} |")
