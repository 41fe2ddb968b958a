"""The worker's process: `flask worker`."""

import ctypes
import gc
import logging
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

from redis import Redis

from app.intake.nodes import Nodes
from app.intake.redis_client import for_worker, request_client
from app.privacy.waiting import Journals
from app.privacy.work import Work
from app.store.connections import WORKER_STATEMENT_TIMEOUT, connect
from app.store.writer import Writer
from app.tracing import of_worker
from app.worker.consumer import Consumer
from app.worker.consuming import Everywhere, consumer_name, is_dead_predecessor
from app.worker.duty import Duty
from app.worker.housekeeping import Housekeeping
from app.worker.measured import Measured
from app.worker.reporting import Recounting, Reporting
from app.worker.signals import stop_on_signals
from app.worker.storing import Storing, parse
from app.worker.upkeep import Retention
from config.settings import Settings

logger = logging.getLogger(__name__)

# The thread that stores has a reply of Postgres to go on with, many times in a transaction: at
# Python's 5 ms it would wait for the one that parses as long as for Postgres.
_SWITCH_INTERVAL = 0.0002  # s
# Counting makes a hundred thousand tuples at a time and no circles: the collector would look at
# them again and again.
_GC_THRESHOLDS = (100_000, 50, 50)
# glibc's malloc would keep a heap for each thread, of which a cluster has one a node: 100 MB more.
_M_ARENA_MAX, _ARENAS = -8, 2
_JOIN_TIMEOUT = 5.0  # s; what reporting and housekeeping have begun is safe to begin again


def run(settings: Settings) -> None:
    """Store what the streams hold until SIGTERM or SIGINT, and keep house beside it."""
    sys.setswitchinterval(_SWITCH_INTERVAL)
    gc.set_threshold(*_GC_THRESHOLDS)
    with suppress(AttributeError):  # another C library has none
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)
    nodes = Nodes(request_client(settings))
    measured = Measured(nodes, revision=settings.revision)
    traces = of_worker(settings)
    storing = Storing(
        lambda: connect(settings.database_url, "worker"),
        Writer(statement_timeout=WORKER_STATEMENT_TIMEOUT, on_copy=traces.copying(measured.copied)),
        measured.stored,
    )
    store, turn = traces.storing(storing.store), threading.Lock()

    def make(node: Redis, streams: Callable[[], list[str]]) -> tuple[Consumer, Redis]:
        client = for_worker(node)
        consumer = Consumer(
            client,
            parse,
            store,
            streams=streams,
            name=consumer_name(),
            is_gone=is_dead_predecessor,
            is_cluster=lambda: nodes.is_cluster,
            turn=turn,
        )
        return consumer, client

    with stop_on_signals() as stop:
        logger.info("worker started", extra={"action": "worker_started"})
        measured.reporter.start()
        threads = [duty.start(stop) for duty in _duties_beside(settings)]
        Everywhere(nodes, make, partitions=settings.stream_partitions).run(stop)
        for thread in threads:
            thread.join(_JOIN_TIMEOUT)
        measured.reporter.stop()
        logger.info("worker stopped", extra={"action": "worker_stopped"})
    storing.close()
    nodes.close()


def _duties_beside(settings: Settings) -> list[Duty]:
    return [
        Reporting(lambda: connect(settings.database_url, "reporting")),
        Recounting(lambda: connect(settings.database_url, "recounting")),
        Housekeeping(
            lambda: connect(settings.database_url, "housekeeping"),
            Work(Journals.of(settings)),
            Retention.of(settings),
        ),
    ]
