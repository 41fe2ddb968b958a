"""A Lua script in Redis, called from an event loop or from a thread."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from hashlib import sha1
from pathlib import Path
from typing import Any

from redis import Redis
from redis.exceptions import NoScriptError

from app.intake.redis_client import REQUEST_TIMEOUT, anew
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
        self._client = anew(client, admit=admit)  # elsewhere
        self._registered = self._client.register_script(_TEXT)

    async def __call__(
        self, keys: Sequence[str], args: Sequence[str | bytes | int], *, asking: bool = False
    ) -> bytes:
        """The script's answer. `asking` where another node of a cluster has sent us to this one.
        redis.RedisError: it may or may not have run."""
        words = (len(keys), *keys, *args)
        blocking: Callable[[], bytes] = partial(self._registered, keys=keys, args=args)
        if asking:
            blocking = partial(self._asking, "EVAL", _TEXT, *words)
        answer: bytes
        try:
            answer = await Wait(blocking, partial(self._send, asking, "EVALSHA", _SHA, *words))
        except NoScriptError:  # Redis was restarted
            answer = await Wait(blocking, partial(self._send, asking, "EVAL", _TEXT, *words))
        return answer

    def close(self) -> None:
        """On the loop's thread, where there is a loop."""
        self._shared.close()
        self._client.close()

    def _send(self, asking: bool, *words: str | bytes | int) -> "asyncio.Future[Any]":
        return asyncio.ensure_future(self._shared.call(*words, asking=asking))

    def _asking(self, *words: str | bytes | int) -> bytes:
        with self._client.pipeline(transaction=False) as pipeline:
            pipeline.execute_command("ASKING")  # type: ignore[no-untyped-call]
            pipeline.execute_command(*words)  # type: ignore[no-untyped-call]
            answer: bytes = pipeline.execute()[1]
        return answer
