"""What a web process looks at beside its requests, so that none of them waits for it: whether Redis
may come first, and whether a journal that nobody tries is back."""

import logging
import threading
import time
from collections.abc import Callable

from redis import RedisError

logger = logging.getLogger(__name__)

_LOOK_EVERY = 0.5  # s
_STOP_TIMEOUT = 1.0  # s; nothing is lost with a look that is not over


class Watch:
    def __init__(
        self, ask: Callable[[], None], probe: Callable[[], None], *, ask_every: float
    ) -> None:
        """`ask` is called at the start, every `ask_every` seconds, and again soon after it raised
        redis.RedisError; `probe` about twice a second."""
        self._ask = ask
        self._probe = probe
        self._ask_every = ask_every
        self._asked_at = float("-inf")
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Once in each process that serves, after the fork."""
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(_STOP_TIMEOUT)

    def look(self) -> None:
        self._probe()
        now = time.monotonic()
        if now - self._asked_at >= self._ask_every:
            try:
                self._ask()
            except RedisError:
                return  # it is away: its last answer holds
            self._asked_at = now

    def _run(self) -> None:
        while True:
            try:
                self.look()
            except Exception:  # whatever it is, requests go on without
                logger.exception("the watch failed", extra={"action": "watch_failed"})
            if self._stop.wait(_LOOK_EVERY):
                return
