"""Waiting, written once for an event loop and for a thread.

What may have to wait is a coroutine, and what it awaits names both ways of waiting. It is driven by
hand: on the loop by `start`, which comes back when a future is done, and on a thread by `run`,
which blocks. A task for each request costs more, and an `await` shows where others may go on.
"""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, copy_context
from functools import partial
from typing import Any, Generic, TypeVar

T = TypeVar("T")

Done = Callable[[Any, BaseException | None], object]


class Wait(Generic[T]):
    """Await it within a coroutine that `run` or `start` drives."""

    __slots__ = ("blocking", "on_loop")

    def __init__(
        self, blocking: Callable[[], T], on_loop: Callable[[], "asyncio.Future[T]"]
    ) -> None:
        self.blocking, self.on_loop = blocking, on_loop

    def __await__(self) -> Generator["Wait[T]", T, T]:
        return (yield self)


def offload(call: Callable[..., T], *args: Any) -> Wait[T]:
    """`call(*args)`, which blocks: on a thread of the loop's executor, or where the caller is."""
    bound = partial(call, *args)

    def on_loop() -> "asyncio.Future[T]":
        # The thread knows what the request knows, its trace for one.
        return asyncio.get_running_loop().run_in_executor(None, copy_context().run, bound)

    return Wait(bound, on_loop)


def run(coroutine: Coroutine[Wait[Any], Any, T]) -> T:
    """Drive the coroutine to its end on this thread; returns or raises what it does."""
    resume: Callable[[Any], Wait[Any]] = coroutine.send
    value: Any = None
    while True:
        try:
            wait = resume(value)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        try:
            resume, value = coroutine.send, wait.blocking()
        except BaseException as error:  # noqa: BLE001  # it belongs to the coroutine
            resume, value = coroutine.throw, error


def start(coroutine: Coroutine[Wait[Any], Any, T], done: Done) -> None:
    """Drive the coroutine on the running loop, each in a context of its own; call `done` with what
    it returned, or raised."""
    context = copy_context()
    context.run(_step, context, coroutine, done, coroutine.send, None)


def _step(
    context: Context,
    coroutine: Coroutine[Wait[Any], Any, Any],
    done: Done,
    resume: Callable[[Any], Wait[Any]],
    value: Any,
) -> None:
    try:
        wait = resume(value)
    except StopIteration as end:
        outcome, failure = end.value, None
    except BaseException as error:  # noqa: BLE001  # it belongs to the caller of `start`
        outcome, failure = None, error
    else:
        wait.on_loop().add_done_callback(
            partial(_resume, context, coroutine, done), context=context
        )
        return
    done(outcome, failure)


def _resume(
    context: Context,
    coroutine: Coroutine[Wait[Any], Any, Any],
    done: Done,
    future: "asyncio.Future[Any]",
) -> None:
    try:
        value = future.result()
    except BaseException as error:  # noqa: BLE001  # it belongs to the coroutine
        _step(context, coroutine, done, coroutine.throw, error)
    else:
        _step(context, coroutine, done, coroutine.send, value)
