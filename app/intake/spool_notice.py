"""What waits in the spools of other machines, told through Redis: who must know that nothing is on
its way any more (app/privacy) sees only the spool of his own."""

import socket
import time
from contextlib import suppress
from typing import Any

from redis import Redis, RedisError

from app.intake import keys
from app.intake.spool import Spool

_LIFETIME = 60 * 60  # s; a machine that is silent for so long is taken for lost


class SpoolReport:
    def __init__(self, client: Redis, spool: Spool) -> None:
        self._client = client
        self._spool = spool
        self._key = keys.spooled(socket.gethostname())
        self._is_told = False

    def tell(self) -> None:
        """Since when something waits in this machine's spool; nothing, where nothing does."""
        oldest_at = self._spool.backlog().oldest_at
        with suppress(RedisError):  # until Redis is back nobody can be told
            if oldest_at is not None:
                self._client.set(self._key, oldest_at, ex=_LIFETIME)
                self._is_told = True
            elif self._is_told:
                self._client.delete(self._key)
                self._is_told = False


def waits_since_before(client: Redis, moment: float) -> bool:
    """Whether some machine's spool holds what came in before (Unix seconds). redis.RedisError."""
    found: list[Any] = list(client.scan_iter(match=keys.spooled("*"), count=1_000))
    values: Any = client.mget(found) if found else []
    return any(float(value) < min(moment, time.time()) for value in values if value)
