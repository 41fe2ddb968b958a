"""Requests on an event loop, each in a greenlet of its own.

A request is written as for a thread. Where it has to wait, its greenlet is left, the loop goes on
with the others, and comes back with what was waited for. A thread for each request costs several
times as much as the request itself: they take turns at every reply of Redis.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar, cast

from greenlet import GreenletExit, getcurrent, greenlet

T = TypeVar("T")

_MOST_IDLE = 100


class _Request(greenlet):
    """The code of one request after the other: a new greenlet's stack is a mapping of memory, made
    and taken back by the system, which costs more than many a request."""

    is_over = False
    outcome: Any = None
    failure: BaseException | None = None

    def run(self, call: Callable[[], Any]) -> None:
        assert self.parent is not None  # noqa: S101
        while True:
            try:
                self.outcome = call()
            except GreenletExit:
                raise
            except BaseException as error:  # noqa: BLE001  # it belongs to who has called `start`
                self.failure = error
            self.is_over = True
            call = self.parent.switch()
            self.is_over = False

    def go_on(self, done: "Done", awaited: Any) -> None:
        """It waits for `awaited`, or is over."""
        if not self.is_over:
            future = asyncio.ensure_future(awaited)
            future.add_done_callback(partial(self._resume, done))
            return
        outcome, failure = self.outcome, self.failure
        self.outcome = self.failure = None
        if len(_idle.requests) < _MOST_IDLE:
            _idle.requests.append(self)
        done(outcome, failure)

    def _resume(self, done: "Done", future: asyncio.Future[Any]) -> None:
        try:
            value = future.result()
        except BaseException as error:  # noqa: BLE001  # it belongs to the one who waits
            awaited = self.throw(error)
        else:
            awaited = self.switch(value)
        self.go_on(done, awaited)


class _Idle(threading.local):
    """Those of a thread that wait for their next request."""

    def __init__(self) -> None:
        self.requests: list[_Request] = []


_idle = _Idle()

Done = Callable[[Any, BaseException | None], object]


def start(call: Callable[[], Any], done: Done) -> None:
    """Call what may use `wait`, and then `done` with what it returned or raised."""
    request = _idle.requests.pop() if _idle.requests else _Request()
    request.go_on(done, request.switch(call))


async def run(call: Callable[[], T]) -> T:
    """The same for a coroutine. Where it is cancelled, the call goes on to its end."""
    future: asyncio.Future[T] = asyncio.get_running_loop().create_future()

    def done(outcome: T, failure: BaseException | None) -> None:
        if future.done():
            return
        if failure is None:
            future.set_result(outcome)
        else:
            future.set_exception(failure)

    start(call, done)
    return await future


def is_on_loop() -> bool:
    """Whether the caller may use `wait`, and must not block."""
    return isinstance(getcurrent(), _Request)


def wait(awaitable: Awaitable[T]) -> T:
    """The awaitable's value, or what it raises, for a caller on the loop."""
    parent = getcurrent().parent
    assert parent is not None  # noqa: S101  # who has started or resumed it
    return cast(T, parent.switch(awaitable))


def offload(call: Callable[..., T], *args: Any) -> T:
    """`call(*args)`, which blocks: on a thread where the caller is on the loop."""
    if not is_on_loop():
        return call(*args)
    return wait(asyncio.get_running_loop().run_in_executor(None, call, *args))
