"""What /metrics shows beyond the status: asked of both servers; None where one does not tell."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import Connection
from redis import RedisError

from app.counts.rollups import seconds_behind
from app.intake.nodes import Nodes
from app.metrics.reading import Reported, read
from app.store import figures


@dataclass(frozen=True)
class OfPostgres:
    size: int  # bytes
    connections: Mapping[str, int]
    connections_allowed: int
    reports_behind: float  # s
    privacy_requests: Mapping[str, int]  # by state, without those that are closed


@dataclass(frozen=True)
class OfRedis:
    memory: int  # bytes
    memory_limit: int | None  # bytes; None: there is none
    reported: Reported


def ask_redis(nodes: Nodes) -> OfRedis | None:
    """Of a cluster, the sums of its primaries."""
    try:
        told: list[Any] = [node.info("memory") for node in nodes.all()]
        reported = read(nodes)
    except RedisError:
        return None
    used = sum(int(memory["used_memory"]) for memory in told)
    limits = [int(memory.get("maxmemory", 0)) for memory in told]
    return OfRedis(used, sum(limits) if all(limits) else None, reported)


def ask_postgres(connected: Callable[[], AbstractContextManager[Connection]]) -> OfPostgres | None:
    try:
        with connected() as connection:
            return OfPostgres(
                figures.database_size(connection),
                figures.connections(connection),
                figures.connections_allowed(connection),
                seconds_behind(connection),
                figures.privacy_requests(connection),
            )
    except psycopg.Error:
        return None
