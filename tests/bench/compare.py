"""Ours and the contenders under the same loads, in turn, several rounds."""

import time
from dataclasses import replace

import click

from tests.bench.load import Load
from tests.bench.runs import measure


def loads(seconds, *, quick):
    sizes = [Load(events=events, seconds=seconds) for events in (1, 5, 50)]
    if quick:
        return sizes
    return [
        *sizes,
        Load(events=5, seconds=seconds, repeats=5),
        *(Load(events=events, seconds=seconds, connections=64) for events in (1, 5, 50)),
    ]


def compare(contenders, servers, folder, rounds, seconds, *, quick):
    """All results, as they were measured."""
    results = []
    total = rounds * len(contenders) * len(loads(seconds, quick=quick))
    started = time.monotonic()
    for round_number in range(rounds):
        for load in loads(seconds, quick=quick):
            # Another order each round: who comes after whom must not decide.
            for contender in contenders[round_number:] + contenders[:round_number]:
                results.append(measure(contender, load, servers, folder))
                result = results[-1]
                left = (time.monotonic() - started) / len(results) * (total - len(results))
                click.echo(
                    f"{len(results)}/{total}, {left / 60:.0f} min left: {result.contender},"
                    f" {load.events} events, {load.connections} connections:"
                    f" {result.events_per_s:,.0f} events/s, {result.cpu_total:.0f} µs each",
                    err=True,
                )
    return results


def half_load(contender, servers, folder, seconds):
    """Latency at half of the load that saturates, at 5 events a batch over 16 connections: with all
    processes on this machine's cores, and in turn with the worker's (and Postgres's) work left for
    later, as where they have a machine of their own."""
    load = Load(events=5, seconds=seconds)
    full = measure(contender, load, servers, folder)
    # A connection's round is its latency and its pause: twice the round halves the rate.
    round_ms = load.connections / full.batches_per_s * 1000
    pause = 2 * round_ms - full.p50 / 4
    load = Load(events=5, seconds=seconds, pause=pause)
    web_alone = replace(contender, worker=None, table=None)
    runs = [(measure(contender, load, servers, folder), measure(web_alone, load, servers, folder))
            for _ in range(3)]  # fmt: skip
    return {"together": [run[0] for run in runs], "web_alone": [run[1] for run in runs]}
