"""Notices in Redis of what waits in each machine's spool: app/privacy must know when no batch is on
its way any more, and a worker sees the spool of its own machine only."""

import socket
import time
from contextlib import suppress
from typing import Any

from redis import RedisError

from app.intake import keys
from app.intake.nodes import Nodes
from app.intake.spool import Spool

_LIFETIME = 60 * 60  # s; a machine that is silent for longer is taken for lost


class SpoolNotice:
    def __init__(self, nodes: Nodes, spool: Spool) -> None:
        self._nodes = nodes
        self._spool = spool
        self._key = keys.spooled(socket.gethostname())
        self._is_posted = False

    def post(self) -> None:
        """Since when a batch waits in this machine's spool; no notice where none does."""
        oldest_at = self._spool.backlog().oldest_at
        with suppress(RedisError):  # posted again once Redis is back
            if oldest_at is not None:
                self._nodes.call(0, lambda node: node.set(self._key, oldest_at, ex=_LIFETIME))
                self._is_posted = True
            elif self._is_posted:
                self._nodes.call(0, lambda node: node.delete(self._key))
                self._is_posted = False


def waits_since_before(nodes: Nodes, moment: float) -> bool:
    """Whether some machine's spool holds a batch from before a moment (Unix seconds).
    redis.RedisError."""
    values: list[Any] = []
    for node in nodes.all():
        found: list[Any] = list(node.scan_iter(match=keys.spooled("*"), count=1_000))
        if found:
            values += node.mget(found)
    return any(float(value) < min(moment, time.time()) for value in values if value)
