"""Results as a table, as ratios to the goals, and as JSON."""

import json
import statistics
from dataclasses import asdict
from pathlib import Path

import click

from tests.processes.running import ROOT

# How many times our processor time the others should need, by events a batch.
_FACTORS = {
    1: {"Express": 3, "Fastify": 2, "Bun": 1.3},
    5: {"Express": 3, "Fastify": 2, "Bun": 1.3},
    50: {"Express": 3, "Fastify": 2.5, "Bun": 1.8},
}
_PROCESSES = ("web", "worker", "redis", "postgres")


def show(results, steady, worker):
    """Print the tables, and save the figures they come from."""
    medians = _medians(results)
    for load in dict.fromkeys(key[1] for key in medians):
        click.echo(f"\n{load}")
        click.echo(
            f"  {'':18}{'batches/s':>10}{'events/s':>10}{'p50 ms':>8}{'p99 ms':>8}"
            f"{'µs/event':>10}{'web':>8}{'worker':>8}{'redis':>8}{'postgres':>9}"
            f"{'bytes/ev':>9}{'web MB':>12}"
        )
        for (contender, of_load), row in medians.items():
            if of_load == load:
                click.echo(_line(contender, row))
    latencies = {
        name: [
            {"p50": result.p50, "p99": result.p99, "batches_per_s": result.batches_per_s}
            for result in results
        ]
        for name, results in steady.items()
    }
    goals = _goals(medians, latencies, worker)
    click.echo("\nGoals, from the medians at 16 connections")
    for text, value, limit, fits in goals:
        click.echo(f"  {'met ' if fits else 'MISS'} {text}: {value:.2f} (goal {limit:.3g})")
    save(
        "bench.json",
        {
            "results": [asdict(result) for result in results],
            "half_load": latencies,
            "worker": worker,
            "goals": [
                {"goal": text, "value": value, "limit": limit, "met": fits}
                for text, value, limit, fits in goals
            ],
        },
    )


def save(name, figures):
    path = Path(ROOT) / ".dev" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(figures, indent=2) + "\n")
    click.echo(f"\nFigures: {path.relative_to(ROOT)}")


def _medians(results):
    groups = {}
    for result in results:
        groups.setdefault((result.contender, _title(result.load)), []).append(result)
    return {key: _median(group) for key, group in groups.items()}


def _title(load):
    repeats = f", {load['repeats']} % repeats" if load["repeats"] else ""
    return f"{load['events']} events a batch, {load['connections']} connections{repeats}"


def _median(group):
    def of(value):
        return statistics.median(map(value, group))

    return {
        "events": group[0].load["events"],
        "batches_per_s": of(lambda result: result.batches_per_s),
        "events_per_s": of(lambda result: result.events_per_s),
        "p50": of(lambda result: result.p50),
        "p99": of(lambda result: result.p99),
        "cpu": of(lambda result: result.cpu_total),
        **{name: of(lambda result, n=name: result.cpu.get(n, 0.0)) for name in _PROCESSES},
        "bytes": of(lambda result: result.bytes_per_event),
        "memory": group[-1].memory["web"],
    }


def _line(contender, row):
    memory = "+".join(f"{size:.0f}" for size in row["memory"])
    return (
        f"  {contender:18}{row['batches_per_s']:10,.0f}{row['events_per_s']:10,.0f}"
        f"{row['p50']:8.1f}{row['p99']:8.1f}{row['cpu']:10.1f}"
        + "".join(f"{row[name]:{8 + (name == 'postgres')}.1f}" for name in _PROCESSES)
        + f"{row['bytes']:9.0f}{memory:>12}"
    )


def _goals(medians, latencies, worker):
    goals = []

    def goal(text, value, limit, *, at_most=True):
        goals.append((text, value, limit, value <= limit if at_most else value >= limit))

    for events, factors in _FACTORS.items():
        rows = {
            contender: row
            for (contender, load), row in medians.items()
            if load == f"{events} events a batch, 16 connections"
        }
        ours, empty = rows.pop("ours", None), rows.pop("empty Flask route", None)
        if ours is None or not rows:
            continue
        for name, factor in factors.items():
            if name in rows:
                goal(
                    f"times our processor time an event at {events} a batch, {name}",
                    rows[name]["cpu"] / ours["cpu"],
                    factor,
                    at_most=False,
                )
        if events == 5:
            if empty:
                goal("web time a batch, against the empty route", ours["web"] / empty["web"], 2)
            disk = min(row["bytes"] for row in rows.values())
            goal("bytes on disk an event, against the flat table", ours["bytes"] / disk, 1 / 3)
        goal(f"largest web process at {events} a batch, MB", max(ours["memory"]), 80)
    for name, runs in latencies.items():
        ratio = statistics.median(each["p99"] / each["p50"] for each in runs)
        goal(f"p99 to p50 at half of the saturating load, {name.replace('_', ' ')}", ratio, 3)
    if worker:
        goal("worker's events/s, against a bare COPY", worker["ratio"], 0.7, at_most=False)
    return goals
