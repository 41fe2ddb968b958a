"""The worker's first duty: storing what the streams hold, with a thread for each server."""

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

import psycopg
from redis import Redis, RedisError

from app.intake import keys
from app.intake.nodes import Nodes
from app.intake.redis_client import warn_about_eviction
from app.metrics.process import HOST
from app.worker.consumer import Consumer
from app.worker.duty import Duty

_LOOK_EVERY = 0.5  # s, at the map of a cluster
_SEARCH_EVERY = 5.0  # s, for streams of partitions that are not configured here
_MOST_NODES = 1_000


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
        self._is_known = False

    def step(self) -> float:
        if not self._is_known:  # at the start, and after each failure
            warn_about_eviction(self._client)
            self._is_known = True
        self._consumer.run_once(self._stop)
        return 0.0

    def let_go(self) -> None:
        self._is_known = False
        self._consumer.let_go()


class Everywhere:
    """Consumes from every server, and from every stream that exists, whatever STREAM_PARTITIONS is
    here: it may have been raised elsewhere, or lowered while something waited."""

    def __init__(
        self,
        nodes: Nodes,
        make: Callable[[Redis, Callable[[], list[str]]], tuple[Consumer, Redis]],
        *,
        partitions: int,
    ) -> None:
        """`make` makes a consumer of a node's streams, with a client of its own."""
        self._nodes = nodes
        self._make = make
        self._partitions = set(range(partitions))
        self._searched_at = float("-inf")
        self._streams: dict[Redis, list[str]] = {}
        self._running: dict[Redis, Future[None]] = {}

    def run(self, stop: threading.Event) -> None:
        """Until `stop`, or until one of the threads fails for good: raises what it raised."""
        with ThreadPoolExecutor(_MOST_NODES, "consume") as pool:
            try:
                while not stop.is_set():
                    self.look()
                    for node in self._streams.keys() - self._running.keys():
                        self._running[node] = pool.submit(self._consume, node, stop)
                    stop.wait(_LOOK_EVERY)
                    for running in self._running.values():
                        if running.done():
                            running.result()
            finally:
                stop.set()

    def look(self) -> None:
        """Which streams there are, and where."""
        with suppress(RedisError):  # what was known holds
            self._nodes.refresh()
            if time.monotonic() - self._searched_at >= _SEARCH_EVERY:
                self._partitions |= set(self._nodes.partitions())
                self._searched_at = time.monotonic()
        self._streams = {
            node: [keys.stream(partition) for partition in partitions]
            for node, partitions in self._nodes.by_node(sorted(self._partitions)).items()
        }

    def streams(self, node: Redis) -> list[str]:
        return self._streams.get(node, [])

    def _consume(self, node: Redis, stop: threading.Event) -> None:
        consumer, client = self._make(node, lambda: self.streams(node))
        with client:
            Consuming(consumer, client, stop).run(stop)
            with suppress(RedisError):  # then others forget it after an hour
                consumer.leave()


def consumer_name() -> str:
    """Of this process, among the consumers of a stream."""
    return f"{HOST}-{os.getpid()}"


def is_dead_predecessor(name: str) -> bool:
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
