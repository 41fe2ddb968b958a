"""Stopping in stages: no new work, finish what was begun."""

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

logger = logging.getLogger(__name__)

STOP_TIMEOUT = 20.0  # s; the platform kills the process 30 s after the signal


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set.

    Work that was begun is finished. Where that hangs, the process ends after STOP_TIMEOUT, and the
    entries it had read stay pending. A repeated signal changes nothing, even while the process
    ends. Without a signal, the handlers that were found are restored.
    """
    stop = threading.Event()
    give_up = threading.Timer(STOP_TIMEOUT, _give_up)
    give_up.daemon = True

    def handle(number: int, frame: FrameType | None) -> None:
        if not stop.is_set():
            stop.set()
            give_up.start()

    found = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        give_up.cancel()
        for number, handler in found.items():
            signal.signal(number, signal.SIG_IGN if stop.is_set() else handler)


def _give_up() -> None:
    logger.warning("a server hangs, stopping without it", extra={"action": "worker_gives_up"})
    os._exit(1)
