import asyncio
import threading
from contextvars import ContextVar

import pytest

from app.intake.waiting import Wait, offload, run, start


def on_loop(coroutine):
    """What `start` tells of the coroutine: its value, or what it raised."""

    async def main():
        future = asyncio.get_running_loop().create_future()

        def done(outcome, failure):
            if failure is None:
                future.set_result(outcome)
            else:
                future.set_exception(failure)

        start(coroutine, done)
        return await future

    return asyncio.run(main())


BOTH = pytest.mark.parametrize("drive", [run, on_loop])


def until(awaitable):
    return Wait(lambda: None, lambda: asyncio.ensure_future(awaitable()))


def fail():
    raise ValueError("away")


@BOTH
def test_what_is_waited_for_is_the_value_of_the_await(drive):
    async def request():
        return await offload(max, 1, 2) + await offload(min, 3, 4)

    assert drive(request()) == 5


@BOTH
def test_what_does_not_wait_comes_at_once(drive):
    async def request():
        return "answered"

    assert drive(request()) == "answered"


@BOTH
def test_what_is_waited_for_raises_in_the_coroutine_which_may_go_on(drive):
    async def request():
        with pytest.raises(ValueError, match="away"):
            await offload(fail)
        return await offload(int, "7")

    assert drive(request()) == 7


@BOTH
def test_what_a_coroutine_raises_reaches_its_caller(drive):
    async def request():
        await offload(int)
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        drive(request())


def test_a_request_that_waits_lets_others_go_on():
    order = []

    async def main():
        ready, ended = asyncio.Event(), asyncio.Event()

        async def first():
            order.append("first waits")
            await until(ready.wait)
            order.append("first goes on")

        async def second():
            order.append("second")
            ready.set()

        start(first(), lambda outcome, failure: ended.set())
        start(second(), lambda outcome, failure: None)
        await ended.wait()

    asyncio.run(main())
    assert order == ["first waits", "second", "first goes on"]


def test_what_blocks_runs_on_a_thread_of_its_own_only_on_the_loop():
    async def request():
        return await offload(threading.current_thread)

    assert on_loop(request()) is not threading.main_thread()
    assert run(request()) is threading.main_thread()


def test_each_request_keeps_what_it_knows_to_itself_and_its_threads():
    known = ContextVar("known", default="nobody's")

    async def request(name):
        token = known.set(name)
        await until(lambda: asyncio.sleep(0))
        assert await offload(known.get) == name
        known.reset(token)
        return known.get()

    async def main():
        futures = [asyncio.get_running_loop().create_future() for _ in range(2)]
        for future, name in zip(futures, "ab", strict=True):
            start(request(name), lambda outcome, failure, future=future: future.set_result(
                failure or outcome))  # fmt: skip
        return await asyncio.gather(*futures), known.get()

    assert asyncio.run(main()) == (["nobody's", "nobody's"], "nobody's")
