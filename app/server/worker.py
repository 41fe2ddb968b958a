"""gunicorn's worker: an event loop for the callers' connections, threads for Flask.

gunicorn's own parts are the master, the sockets, the settings and the signals; see
https://docs.gunicorn.org/en/stable/settings.html#worker-class
"""

import asyncio
import gc
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import uvloop
from gunicorn.workers.base import Worker as Base

from app.server.server import TICK, Server, TimeLimits

_POLL = 0.05  # s, while it stops
_STOPPING = {signal.SIGTERM, signal.SIGQUIT, signal.SIGINT}


def _let_signals_in() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)


os.register_at_fork(after_in_parent=_let_signals_in)


class Worker(Base):
    """One process that serves."""

    wsgi: Any  # the Flask app
    loop: asyncio.AbstractEventLoop
    server: Server
    _is_quick = False

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        # gunicorn forks now. A signal waits until the new process has its own handlers: those that
        # it is born with are the master's, and lose it.
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)

    def init_process(self) -> None:
        self._told_to_stop = asyncio.Event()
        self.loop = uvloop.new_event_loop()
        asyncio.set_event_loop(self.loop)
        super().init_process()

    def init_signals(self) -> None:
        # Not the loop's own handlers: they lose a signal that comes before the loop runs, and a
        # SIGTERM to a worker that still boots would be waited for until it is killed.
        for number in self.SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGQUIT, self._stop_at_once)
        signal.signal(signal.SIGINT, self._stop_at_once)
        signal.signal(signal.SIGUSR1, lambda *_: self.log.reopen_files())
        signal.signal(signal.SIGABRT, self._give_up)
        _let_signals_in()

    def run(self) -> None:
        # Nearly all that a request makes is freed without the collector: what stays is not looked
        # at again, and the rest seldom (a tenth of the process's time).
        gc.freeze()
        gc.set_threshold(20_000, 50, 100)
        threads = ThreadPoolExecutor(self.wsgi.extensions["settings"].web_threads, "request")
        self.loop.set_default_executor(threads)
        limits = TimeLimits(idle=self.cfg.keepalive)
        self.server = Server(self.wsgi, self.loop, threads, limits)
        try:
            self.loop.run_until_complete(self._serve())
        except Exception:
            self.log.exception("The worker ends with a fault")
        finally:
            self._close(threads)

    async def _serve(self) -> None:
        listeners: list[Any] = self.sockets  # gunicorn's, around the socket
        listening = [
            await self.loop.create_server(
                self.server.connect, sock=listener.sock, backlog=self.cfg.backlog
            )
            for listener in listeners
        ]
        try:
            # What the run before left in the spool is given back.
            self.wsgi.extensions["drainer"].start()
            self.wsgi.extensions["watch"].start()
            self.wsgi.extensions["reporter"].start()
            while self.alive and self.ppid == os.getppid():
                self._tick()
                with suppress(TimeoutError):
                    async with asyncio.timeout(TICK):
                        await self._told_to_stop.wait()
            self._stop_listening(listening)
            ends_at = self.loop.time() + self.cfg.graceful_timeout
            while self.server.is_busy and not self._is_quick and self.loop.time() < ends_at:
                self._tick()
                await asyncio.sleep(_POLL)
        finally:  # uvloop's loop does not close, and waits for ever, with something open in it
            self._stop_listening(listening)
            self.server.abort()

    def _stop_listening(self, listening: list[asyncio.Server]) -> None:
        for one in listening:
            one.close()
        self.server.stop()

    def _tick(self) -> None:
        self.notify()
        self.server.tick()
        if self.server.answered >= self.max_requests:
            self.alive = False

    def _close(self, threads: ThreadPoolExecutor) -> None:
        """The requests are answered: give back what still waits, and close the connections."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a repeated one has nothing left to stop
        extensions = self.wsgi.extensions
        extensions["watch"].stop()
        extensions["drainer"].stop()
        extensions["reporter"].stop()
        threads.shutdown(wait=False, cancel_futures=True)
        extensions["intake"].close()
        extensions["reports"].close()
        self.loop.run_until_complete(asyncio.sleep(0))  # what was closed is let go of
        self.loop.close()

    def _stop(self, *_: object) -> None:
        self.alive = False
        self.loop.call_soon_threadsafe(self._told_to_stop.set)

    def _stop_at_once(self, *_: object) -> None:
        self._is_quick = True
        self._stop()

    def _give_up(self, *_: object) -> None:
        """gunicorn has had no heartbeat for too long."""
        self.cfg.worker_abort(self)
        sys.exit(1)
