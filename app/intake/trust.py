"""Whether Redis may be the only holder of a batch, by what it says of itself.

Asked on each new connection that batches go over, and again in a rhythm (intake/watch.py): settings
change under a running process, and a failover leads to another server.
"""

import logging
from collections.abc import Mapping
from typing import Any

from redis import Redis, RedisError
from redis.exceptions import NoPermissionError

logger = logging.getLogger(__name__)

Info = Mapping[str, Any]  # the fields of INFO

_NOT_ASKED = "has not been asked"


class Untrusted(RedisError):
    """This Redis may lose what it holds: another journal must take the batch."""


class Trust:
    def __init__(self, mode: str) -> None:
        """`mode` is the setting INTAKE. Only "auto" goes by what Redis says."""
        self._mode = mode
        self._risk: str | None = _NOT_ASKED

    @property
    def is_stream_first(self) -> bool:
        """Also before Redis was asked: the stream's connection asks before it is used."""
        if self._mode == "auto":
            return self._risk in (None, _NOT_ASKED)
        return self._mode == "stream"

    def hear(self, info: Info) -> str | None:
        """Go by this answer from now on, and log it if it is a new one; returns the risk."""
        was, risk = self._risk, risk_of(info)
        if risk is None and was is not None and _is_rewriting(info):
            # An append-only file that was just switched on holds nothing before it is complete.
            risk = "is writing its append-only file"
        self._risk = risk
        if risk != was:
            logger.log(
                logging.WARNING if risk and self._mode == "stream" else logging.INFO,
                "the order of the journals is known",
                extra={
                    "action": "intake_order",
                    "stream_first": self.is_stream_first,
                    "redis_risk": risk,
                },
            )
        return risk

    def admit(self, info: Info) -> None:
        """Hear the server at the end of a new connection. Untrusted: no batch must go to it."""
        if self.hear(info) and self._mode == "auto":
            raise Untrusted


def risk_of(info: Info) -> str | None:
    """Why this Redis may lose what it holds, or None. What it does not tell counts against it."""
    if info.get("role", "master") != "master":
        return "is a replica"
    if "aof_enabled" not in info:
        return "does not say whether it keeps an append-only file"
    if str(info["aof_enabled"]) != "1":
        return "keeps no append-only file"
    # volatile-* spares the stream, which never expires, but not the seen ids that tell a repeat.
    policy = info.get("maxmemory_policy", "unknown")
    return None if policy == "noeviction" else f"may evict keys (maxmemory-policy {policy})"


def ask(client: Redis) -> Info:
    """What Redis says of itself; nothing where this user may not ask. redis.RedisError."""
    try:
        info: Info = client.info()
    except NoPermissionError:
        return {}
    return info


def read(answer: bytes) -> Info:
    """The answer to INFO as it comes over the wire."""
    lines = (line.partition(":") for line in answer.decode(errors="replace").splitlines())
    return {name: value for name, colon, value in lines if colon}


def _is_rewriting(info: Info) -> bool:
    return any(
        str(info.get(name)) == "1" for name in ("aof_rewrite_in_progress", "aof_rewrite_scheduled")
    )
