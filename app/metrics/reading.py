"""What all processes have reported, read back."""

import time
from dataclasses import dataclass, field
from typing import Any

from app.intake import keys
from app.intake.nodes import Nodes
from app.metrics.histograms import METRICS
from app.metrics.process import Process
from app.metrics.reporter import LIFETIME, MICRO


@dataclass
class Observed:
    """`counts` by a bucket's bound, not cumulated; bounds that have none are left out."""

    counts: dict[str, int] = field(default_factory=dict)
    sum: float = 0.0


@dataclass
class Reported:
    observed: dict[str, dict[tuple[str, ...], Observed]]  # by metric, then by labels' values
    processes: list[Process]  # those that live


def read(nodes: Nodes) -> Reported:
    """redis.RedisError."""
    fields: Any = nodes.call(0, lambda node: node.hgetall(keys.observations()))
    told: Any = nodes.call(0, lambda node: node.hgetall(keys.processes()))
    oldest = time.time() - LIFETIME
    processes = [process for text in told.values() if (process := Process.read(text)).at > oldest]
    observed: dict[str, dict[tuple[str, ...], Observed]] = {metric.name: {} for metric in METRICS}
    for name, number in fields.items():
        metric, *labels, bound = name.decode().split("|")
        if metric in observed:
            one = observed[metric].setdefault(tuple(labels), Observed())
            if bound == "sum":
                one.sum = int(number) / MICRO
            else:
                one.counts[bound] = int(number)
    return Reported(observed, sorted(processes, key=lambda process: process.name))
