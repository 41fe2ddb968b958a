"""A Lua script in Redis, called from an event loop or from a thread."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from hashlib import sha1
from pathlib import Path
from typing import Any

from redis import ConnectionPool, Redis
from redis.exceptions import NoScriptError

from app.intake.redis_client import REQUEST_TIMEOUT
from app.intake.shared_connection import SharedConnection
from app.intake.trust import Info
from app.intake.waiting import Wait


def read_lua(name: str) -> str:
    """A script's text, with the part that two have in common."""
    folder = Path(__file__).parent
    limits = (folder / "limits.lua").read_text()
    return (folder / name).read_text().replace("-- (limits.lua stands here)\n", limits)


_TEXT = read_lua("intake.lua")
_SHA = sha1(_TEXT.encode(), usedforsecurity=False).hexdigest()


class Script:
    def __init__(self, client: Redis, admit: Callable[[Info], None]) -> None:
        """To the same server as `client`, over connections of its own. `admit` is told about the
        server when one is new; what it raises, the call raises."""
        self._shared = SharedConnection(client, timeout=REQUEST_TIMEOUT, admit=admit)  # on the loop
        self._client = _admitting(client, admit)  # elsewhere
        self._registered = self._client.register_script(_TEXT)

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
        self._client.close()

    def _send(self, *words: str | bytes | int) -> "asyncio.Future[Any]":
        return asyncio.ensure_future(self._shared.call(*words))


def _admitting(client: Redis, admit: Callable[[Info], None]) -> Redis:
    pool = client.connection_pool
    options = {**pool.connection_kwargs, "admit": admit}
    return Redis(connection_pool=ConnectionPool(pool.connection_class, **options))
