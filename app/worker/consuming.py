"""The worker's first duty: storing what the streams hold."""

import os
import threading

import psycopg
from redis import Redis, RedisError

from app.intake.redis_client import warn_about_eviction
from app.metrics.process import HOST
from app.worker.consumer import Consumer
from app.worker.duty import Duty


class Consuming(Duty):
    name = "worker"
    first_pause = 0.1
    longest_pause = 2.0  # a failover is over in seconds
    retried = (RedisError, psycopg.Error, OSError)

    def __init__(self, consumer: Consumer, client: Redis, stop: threading.Event) -> None:
        """`stop` ends a step early."""
        self._consumer = consumer
        self._client = client
        self._stop = stop
        self._has_joined = False

    def step(self) -> float:
        if not self._has_joined:  # at the start, and after each failure
            warn_about_eviction(self._client)
            self._consumer.join_groups()
            self._consumer.adopt(_is_dead_predecessor)
            self._consumer.store_pending()
            self._has_joined = True
        self._consumer.run_once(self._stop)
        return 0.0

    def let_go(self) -> None:
        self._has_joined = False


def consumer_name() -> str:
    """Of this process, among the consumers of a stream."""
    return f"{HOST}-{os.getpid()}"


def _is_dead_predecessor(name: str) -> bool:
    """Whether a consumer was a process of this machine that has ended."""
    host, _, pid = name.rpartition("-")
    return host == HOST and pid.isdigit() and not _is_alive(int(pid))


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
