"""A Lua script in Redis, called from an event loop or from a thread."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from hashlib import sha1
from pathlib import Path
from typing import Any

from redis import Redis
from redis.exceptions import NoScriptError

from app.intake.redis_client import REQUEST_TIMEOUT
from app.intake.shared_connection import SharedConnection
from app.intake.waiting import Wait

_TEXT = Path(__file__).with_name("intake.lua").read_text()
_SHA = sha1(_TEXT.encode(), usedforsecurity=False).hexdigest()


class Script:
    def __init__(self, client: Redis) -> None:
        self._shared = SharedConnection(client, timeout=REQUEST_TIMEOUT)  # on the event loop
        self._registered = client.register_script(_TEXT)  # elsewhere

    async def __call__(self, keys: Sequence[str], args: Sequence[str | bytes | int]) -> bytes:
        """The script's answer. redis.RedisError: it may or may not have run."""
        words = (len(keys), *keys, *args)
        blocking: Callable[[], bytes] = partial(self._registered, keys=keys, args=args)
        answer: bytes
        try:
            answer = await Wait(blocking, partial(self._send, "EVALSHA", _SHA, *words))
        except NoScriptError:  # Redis was restarted
            answer = await Wait(blocking, partial(self._send, "EVAL", _TEXT, *words))
        return answer

    def close(self) -> None:
        """On the loop's thread, where there is a loop."""
        self._shared.close()

    def _send(self, *words: str | bytes | int) -> "asyncio.Future[Any]":
        return asyncio.ensure_future(self._shared.call(*words))
