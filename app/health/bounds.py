"""How far what can run out has got: the nearest bound, and how fast the disk fills."""

import time
from collections.abc import Iterator
from typing import NamedTuple

from psycopg import Connection

from app.counts.rollups import seconds_behind
from app.health.status import Status
from app.intake.memory import memory_of
from app.intake.nodes import Nodes
from app.store.figures import connections, connections_allowed, database_size, stored_events
from config.settings import Settings

NEAR = 0.8
_MOST_BEHIND = 60.0  # s that the merchants' numbers may lag
_DAY = 86_400  # s


class Bound(NamedTuple):
    """`used` of `most`, in one unit; `text` says both."""

    name: str
    used: float
    most: float
    text: str

    @property
    def share(self) -> float:
        return self.used / self.most


class Growth(NamedTuple):
    """Bytes; `full` is what will be stored once retention takes away as much as arrives."""

    stored: int
    a_day: float
    full: float


def bounds(
    connection: Connection, nodes: Nodes, settings: Settings, status: Status
) -> Iterator[Bound]:
    """psycopg.Error, redis.RedisError."""
    memories = [memory for node in nodes.all() if (memory := memory_of(node)).limit]
    if memories:  # of a cluster, the node that has least
        memory = max(memories, key=lambda one: one.used / one.limit)
        text = f"{_size(memory.used)} of {_size(memory.limit)}"
        yield Bound("Redis's memory", memory.used, memory.limit, text)
    open_, allowed = sum(connections(connection).values()), connections_allowed(connection)
    yield Bound("Postgres's connections", open_, allowed, f"{open_} of {allowed}")
    waiting = status.backlog.batches if status.backlog else 0
    most = settings.stream_max_batches
    yield Bound("the backlog", waiting, most, f"{waiting:,} of {most:,} batches")
    behind = seconds_behind(connection)
    yield Bound(
        "the reports", behind, _MOST_BEHIND, f"{behind:.0f} s behind, of {_MOST_BEHIND:.0f}"
    )


def growth(connection: Connection, settings: Settings, status: Status) -> Growth | None:
    """By the events accepted since yesterday began and what an event has taken so far; None where
    nothing was. psycopg.Error."""
    accepted = status.outcomes_of_day.get("accepted", 0)
    stored, events = database_size(connection), stored_events(connection)
    if not accepted or not events:
        return None
    a_day = accepted / (_DAY + time.time() % _DAY) * _DAY * stored / events
    return Growth(stored, a_day, a_day * settings.event_retention_days)


def describe(growth: Growth) -> str:
    return (
        f"{_size(growth.stored)} stored, {_size(growth.a_day)} more a day at the rate since"
        f" yesterday, {_size(growth.full)} when EVENT_RETENTION_DAYS are full"
    )


def _size(number: float) -> str:
    for unit, least in (("TB", 1e12), ("GB", 1e9)):
        if number >= least:
            return f"{number / least:.1f} {unit}"
    return f"{number / 1e6:.1f} MB"
