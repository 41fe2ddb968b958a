"""What /metrics shows beyond the status: asked of both servers; None where one does not tell."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import Connection
from redis import Redis, RedisError

from app.counts.rollups import seconds_behind
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


def ask_redis(redis: Redis) -> OfRedis | None:
    try:
        memory: Any = redis.info("memory")
        reported = read(redis)
    except RedisError:
        return None
    return OfRedis(int(memory["used_memory"]), int(memory.get("maxmemory", 0)) or None, reported)


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
