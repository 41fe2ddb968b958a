import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from greenlet import getcurrent

from app.loop import is_on_loop, offload, run, wait


def test_a_request_that_waits_lets_others_go_on():
    order = []

    async def both():
        ready = asyncio.Event()

        def first():
            order.append("first waits")
            wait(ready.wait())
            order.append("first goes on")
            return 1

        def second():
            order.append("second")
            ready.set()
            return 2

        return await asyncio.gather(run(first), run(second))

    assert asyncio.run(both()) == [1, 2]
    assert order == ["first waits", "second", "first goes on"]


def test_what_is_waited_for_raises_in_the_request():
    async def fail():
        raise ValueError("away")

    def request():
        with pytest.raises(ValueError, match="away"):
            wait(fail())
        return "answered"

    assert asyncio.run(run(request)) == "answered"


def test_what_a_request_raises_reaches_its_caller():
    def request():
        wait(asyncio.sleep(0))
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        asyncio.run(run(request))


def test_a_request_goes_on_to_its_end_where_nobody_waits_for_it_any_more():
    ended = []

    def request():
        wait(asyncio.sleep(0.01))
        ended.append(True)

    async def cancel():
        task = asyncio.ensure_future(run(request))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0.05)

    asyncio.run(cancel())
    assert ended == [True]


def test_requests_one_after_the_other_share_a_greenlet_whatever_became_of_them():
    seen = []

    def request():
        seen.append(getcurrent())
        wait(asyncio.sleep(0))
        if len(seen) == 1:
            raise KeyError("the first")
        return len(seen)

    async def three():
        with pytest.raises(KeyError, match="the first"):
            await run(request)
        return [await run(request), await run(request)]

    assert asyncio.run(three()) == [2, 3]
    assert seen[0] is seen[1] is seen[2]


def test_threads_share_none():
    with ThreadPoolExecutor(1) as other:
        for _ in range(2):
            assert asyncio.run(run(lambda: wait(asyncio.sleep(0, "here")))) == "here"
            there = run(lambda: wait(asyncio.sleep(0, "there")))
            assert other.submit(asyncio.run, there).result() == "there"


def test_what_blocks_runs_on_a_thread_of_its_own_only_on_the_loop():
    def request():
        assert is_on_loop()
        return offload(threading.current_thread)

    assert asyncio.run(run(request)) is not threading.main_thread()
    assert not is_on_loop()
    assert offload(threading.current_thread) is threading.main_thread()
