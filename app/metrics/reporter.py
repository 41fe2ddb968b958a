"""From each process to Redis, and so to /metrics, whichever web process answers it.

Behind one address are many processes, often of many machines, and a scrape reaches any one of them.
So the observations of all are added up in Redis, where a restart does not set them back. What is
true of one process only (its memory, its connections) is told under its name, and forgotten soon
after the process has ended.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import orjson
from redis import Redis, RedisError

from app.intake import keys
from app.intake.nodes import Nodes
from app.intake.spool import Spool
from app.metrics.histograms import Histograms, Labels
from app.metrics.process import Process, this_process

logger = logging.getLogger(__name__)

_EVERY = 5.0  # s
_LAST_TIMEOUT = 2.0  # s, when the process ends
LIFETIME = 30.0  # s for which what a process has told counts
MICRO = 1_000_000  # sums are kept in millionths, as whole numbers


class Reporter:
    def __init__(
        self,
        nodes: Nodes,
        histograms: Sequence[Histograms],
        *,
        kind: str,
        revision: str,
        spool: Spool | None = None,
    ) -> None:
        """`kind` is web or worker."""
        self.count_connections: Callable[[], int | None] = lambda: None  # of callers
        self._nodes = nodes
        self._histograms = histograms
        self._kind, self._revision, self._spool = kind, revision, spool
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reporter", daemon=True)

    def start(self) -> None:
        """Once in each process, after the fork."""
        self._thread.start()

    def stop(self) -> None:
        """Report once more, and say that the process is gone."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(_LAST_TIMEOUT)

    def report(self) -> None:
        """Carry on what was observed. redis.RedisError: it waits for the next call."""
        process = self._this_process()
        taken = [(one, one.take()) for one in self._histograms]

        def send(node: Redis) -> None:
            with node.pipeline() as pipeline:
                for histograms, pending in taken:
                    for labels, numbers in pending.items():
                        for field, number in _increments(histograms, labels, numbers):
                            pipeline.hincrby(keys.observations(), field, number)
                pipeline.hset(keys.processes(), process.name, orjson.dumps(process).decode())
                pipeline.execute()

        try:
            self._nodes.call(0, send)
        except BaseException:
            for histograms, pending in taken:
                histograms.give_back(pending)
            raise

    def _run(self) -> None:
        is_last = False
        while not is_last:
            is_last = self._stop.is_set()
            try:
                self.report()
                self._forget_the_dead(self._this_process().name if is_last else "")
            except RedisError:
                pass  # what was observed waits in this process
            except Exception:
                logger.exception("nothing was reported", extra={"action": "report_failed"})
            self._stop.wait(_EVERY)

    def _this_process(self) -> Process:
        return this_process(
            self._kind, self._revision, connections=self.count_connections(), spool=self._spool
        )

    def _forget_the_dead(self, also: str) -> None:
        told: Any = self._nodes.call(0, lambda node: node.hgetall(keys.processes()))
        processes = [Process.read(text) for text in told.values()]
        oldest = time.time() - LIFETIME
        dead = [one.name for one in processes if one.at < oldest or one.name == also]
        if dead:
            self._nodes.call(0, lambda node: node.hdel(keys.processes(), *dead))


def _increments(
    histograms: Histograms, labels: Labels, numbers: Sequence[float]
) -> Iterator[tuple[str, int]]:
    """The fields in Redis that grow, and by how much."""
    metric = histograms.metric
    bounds = [*map(str, metric.bounds), "inf"]
    for bound, number in zip(bounds, numbers[:-1], strict=True):
        if number:
            yield keys.observed(metric.name, *labels, bound), int(number)
    yield keys.observed(metric.name, *labels, "sum"), round(numbers[-1] * MICRO)
