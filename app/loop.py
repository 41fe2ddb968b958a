"""Requests on an event loop, each in a greenlet of its own.

A request is written as for a thread. Where it has to wait, its greenlet is left, the loop goes on
with the others, and comes back with what was waited for. A thread for each request costs several
times as much as the request itself: they take turns at every reply of Redis.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

from greenlet import getcurrent, greenlet

T = TypeVar("T")


class _Request(greenlet):
    """The code of one request."""


async def run(call: Callable[[], T]) -> T:
    """Call what may use `wait`. Whatever it raises is raised here."""
    request = _Request(call)
    outcome: Any = request.switch()
    while not request.dead:
        try:
            value = await outcome
        except BaseException as error:  # noqa: BLE001  # it belongs to the one who waits
            outcome = request.throw(error)
        else:
            outcome = request.switch(value)
    return cast(T, outcome)


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
