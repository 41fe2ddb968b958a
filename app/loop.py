"""Requests on an event loop, each in a greenlet of its own.

A request is written as for a thread. Where it has to wait, its greenlet is left, the loop goes on
with the others, and comes back with what was waited for. A thread for each request costs several
times as much as the request itself: they take turns at every reply of Redis.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable
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
            except BaseException as error:  # noqa: BLE001  # it belongs to who has called `run`
                self.failure = error
            self.is_over = True
            call = self.parent.switch()
            self.is_over = False

    def take(self) -> Any:
        outcome, failure = self.outcome, self.failure
        self.outcome = self.failure = None
        if failure is not None:
            raise failure
        return outcome


class _Idle(threading.local):
    """Those of a thread that wait for their next request."""

    def __init__(self) -> None:
        self.requests: list[_Request] = []


_idle = _Idle()


async def run(call: Callable[[], T]) -> T:
    """Call what may use `wait`. Whatever it raises is raised here."""
    idle = _idle.requests
    request = idle.pop() if idle else _Request()
    outcome: Any = request.switch(call)
    while not request.is_over:
        try:
            value = await outcome
        except BaseException as error:  # noqa: BLE001  # it belongs to the one who waits
            outcome = request.throw(error)
        else:
            outcome = request.switch(value)
    if len(idle) < _MOST_IDLE:
        idle.append(request)
    return cast(T, request.take())


def is_on_loop() -> bool:
    """Whether the caller may use `wait`, and must not block."""
    return isinstance(getcurrent(), _Request)


def wait(awaitable: Awaitable[T]) -> T:
    """The awaitable's value, or what it raises, for a caller on the loop."""
    parent = getcurrent().parent
    assert parent is not None  # noqa: S101  # `run` is the parent of every request
    return cast(T, parent.switch(awaitable))


def offload(call: Callable[..., T], *args: Any) -> T:
    """`call(*args)`, which blocks: on a thread where the caller is on the loop."""
    if not is_on_loop():
        return call(*args)
    return wait(asyncio.get_running_loop().run_in_executor(None, call, *args))
