"""The intake script, called from a thread or from an event loop."""

from collections.abc import Sequence
from hashlib import sha1
from pathlib import Path

from redis import Redis
from redis.exceptions import NoScriptError

from app.intake.redis_client import REQUEST_TIMEOUT
from app.intake.shared_connection import SharedConnection
from app.loop import is_on_loop, wait

_TEXT = Path(__file__).with_name("intake.lua").read_text()
_SHA = sha1(_TEXT.encode(), usedforsecurity=False).hexdigest()


class Script:
    def __init__(self, client: Redis) -> None:
        self._shared = SharedConnection(client, timeout=REQUEST_TIMEOUT)  # on the event loop
        self._registered = client.register_script(_TEXT)  # elsewhere

    def __call__(self, keys: Sequence[str], args: Sequence[str | bytes | int]) -> bytes:
        """The script's answer. redis.RedisError: it may or may not have run."""
        answer: bytes
        if not is_on_loop():
            answer = self._registered(keys=keys, args=args)
            return answer
        words = (len(keys), *keys, *args)
        try:
            answer = wait(self._shared.call("EVALSHA", _SHA, *words))
        except NoScriptError:  # Redis has started anew
            answer = wait(self._shared.call("EVAL", _TEXT, *words))
        return answer
