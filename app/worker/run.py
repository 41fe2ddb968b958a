"""The worker's process: `flask worker`."""

import logging
import os
import socket
import sys
import threading
from contextlib import suppress

import psycopg
import redis

from app.intake import keys
from app.intake.redis_client import warn_about_eviction, worker_client
from app.privacy.waiting import Journals
from app.privacy.work import Work
from app.store.connections import WORKER_STATEMENT_TIMEOUT, connect
from app.store.writer import Writer
from app.worker.consumer import Consumer
from app.worker.housekeeping import Housekeeping
from app.worker.reporting import Reporting
from app.worker.signals import stop_on_signals
from app.worker.storing import Storing, parse
from app.worker.upkeep import Retention
from config.settings import Settings

logger = logging.getLogger(__name__)

_HOST = os.environ.get("DYNO") or socket.gethostname()
# The thread that stores has a reply of Postgres to go on with, many times in a transaction: at
# Python's 5 ms it would wait for the one that parses as long as for Postgres.
_SWITCH_INTERVAL = 0.0002  # s
_FIRST_PAUSE = 0.1  # s
_LONGEST_PAUSE = 10.0  # s
_JOIN_TIMEOUT = 5.0  # s; what reporting and housekeeping have begun is safe to begin again


def run(settings: Settings) -> None:
    """Store what the streams hold until SIGTERM or SIGINT."""
    sys.setswitchinterval(_SWITCH_INTERVAL)
    client = worker_client(settings)
    storing = Storing(
        lambda: connect(settings.database_url, "worker"),
        Writer(statement_timeout=WORKER_STATEMENT_TIMEOUT),
    )
    consumer = Consumer(
        client,
        parse,
        storing.store,
        streams=[keys.stream(partition) for partition in range(settings.stream_partitions)],
        name=f"{_HOST}-{os.getpid()}",
    )
    with stop_on_signals() as stop:
        logger.info("worker started", extra={"action": "worker_started"})
        reporting = Reporting(
            lambda: connect(settings.database_url, "reporting"), consumer.is_busy, stop
        )
        reporting.start()
        housekeeping = _housekeeping(settings, stop)
        housekeeping.start()
        _loop(stop, consumer, storing, client)
        with suppress(redis.RedisError):  # then others forget it after an hour
            consumer.leave()
        reporting.join(_JOIN_TIMEOUT)
        housekeeping.join(_JOIN_TIMEOUT)
        logger.info("worker stopped", extra={"action": "worker_stopped"})
    storing.close()
    client.close()


def _housekeeping(settings: Settings, stop: threading.Event) -> Housekeeping:
    return Housekeeping(
        lambda: connect(settings.database_url, "housekeeping"),
        Work(Journals.of(settings)),
        Retention.of(settings),
        stop,
    )


def _loop(
    stop: threading.Event,
    consumer: Consumer,
    storing: Storing,
    client: redis.Redis,
) -> None:
    failures = 0
    joined = False
    while not stop.is_set():
        try:
            if not joined:  # at the start, and after each failure
                warn_about_eviction(client)
                consumer.join_groups()
                consumer.adopt(_is_dead_predecessor)
                consumer.store_pending()
                joined = True
            consumer.run_once(stop)
        except (redis.RedisError, psycopg.Error, OSError) as error:
            joined = False
            if not failures:  # once, and not a thousand times
                logger.warning(
                    "the worker cannot go on and tries again, nothing is lost",
                    extra={"action": "worker_waits", "cause": f"{type(error).__name__}: {error}"},
                )
            stop.wait(min(_FIRST_PAUSE * 2**failures, _LONGEST_PAUSE))
            failures += 1
        else:
            if failures:
                logger.info("the worker goes on", extra={"action": "worker_goes_on"})
            failures = 0


def _is_dead_predecessor(name: str) -> bool:
    """Whether a consumer was a process of this machine that has ended."""
    host, _, pid = name.rpartition("-")
    return host == _HOST and pid.isdigit() and not _is_alive(int(pid))


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
