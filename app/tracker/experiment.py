"""The part of the script that knows the shop's experiment, for genlook.arm()."""

import json
import re
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import Connection
from psycopg_pool import PoolTimeout, TooManyRequests

from app.counts.experiments import find_running

_COMMENT = re.compile(rb"^ *//.*\n", re.MULTILINE)
_ARM = _COMMENT.sub(b"", Path(__file__).with_name("arm.js").read_bytes())
_FRESH = 10.0  # s that a shop's part is served without asking again
_MOST = 10_000  # shops that are remembered

Connect = Callable[[], AbstractContextManager[Connection]]


@dataclass(frozen=True)
class Part:
    script: bytes  # empty without an experiment
    is_known: bool = True  # else Postgres was away, and nothing was known from before


class Parts:
    """By shop. A page never waits for Postgres longer than a tracked event does: what was last
    known is served where it is away."""

    def __init__(self, *, fresh: float = _FRESH) -> None:
        """`fresh` in seconds."""
        self._fresh = fresh
        self._known: dict[str, tuple[float, Part]] = {}

    def of(self, shop: str, connect: Connect) -> Part:
        asked_at, part = self._known.get(shop, (0.0, Part(b"", is_known=False)))
        now = time.monotonic()
        if part.is_known and now - asked_at < self._fresh:
            return part
        try:
            with connect() as connection:
                part = Part(_script(connection, shop))
        except (psycopg.Error, PoolTimeout, TooManyRequests):
            return part
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[shop] = now, part
        return part


def _script(connection: Connection, shop: str) -> bytes:
    found = find_running(connection, shop)
    if found is None:
        return b""
    experiment = {
        "salt": found.salt,
        "share": found.share,
        "start": found.start // 1000,  # ms, as Date.now() has them
        "end": found.end and found.end // 1000,
    }
    return (
        b"(() => {\nconst experiment = " + json.dumps(experiment).encode() + b";\n" + _ARM
        + b"window.genlookArm = (client) => armOf(experiment, client, Date.now());\n})();\n"
    )  # fmt: skip
