"""How much of Redis's memory what we keep there may take.

What can be lost goes before Redis is full: the ids that were seen, of the largest shop the oldest
first. The key in Postgres decides about their repeats then. What waits in the stream may take half;
the rest is for counters, claims and whatever else is there.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from redis import Redis, RedisError
from redis.exceptions import NoPermissionError

from app.intake import backlog, keys
from app.intake.outcomes import Outcomes

logger = logging.getLogger(__name__)

_LOOK_EVERY = 1.0  # s
_SEARCH_EVERY = 10.0  # s, where there was nothing to forget
_ID_BYTES = 40  # of a seen id, measured
_SETS_OF_A_SHOP = 16  # so many full sets of seen ids would fill Redis; a shop has three
_SHORT, _ENOUGH = 0.8, 0.7  # of the memory in use: when ids are forgotten, and until when
_FULL = 0.95


class Memory(NamedTuple):
    """Bytes."""

    used: int
    limit: int  # 0 where Redis does not say
    is_full: bool  # or about to be: it refuses writes


def memory_of(client: Redis) -> Memory:
    """redis.RedisError. Without a maxmemory the limit is half of the machine's memory."""
    try:
        info: Any = client.info("memory")
    except NoPermissionError:
        info = {}
    used = int(info.get("used_memory", 0)) - int(info.get("mem_not_counted_for_evict", 0))
    most = int(info.get("maxmemory", 0))
    refuses = most > 0 and info.get("maxmemory_policy") == "noeviction"
    limit = most or int(info.get("total_system_memory", 0)) // 2
    return Memory(used, limit, refuses and used > _FULL * limit)


@dataclass
class Bounds:
    """What the scripts keep to."""

    stream_bytes: int  # of each stream
    seen_ids: int = 1_000_000  # of each set


class Keeper:
    """Fits the bounds to the memory that Redis has, and forgets seen ids where it is short."""

    def __init__(self, client: Redis, bounds: Bounds, outcomes: Outcomes) -> None:
        """Of one server."""
        self._client = client
        self._bounds = bounds
        self._most_stream_bytes = bounds.stream_bytes
        self._outcomes = outcomes
        self._look_at = self._search_at = float("-inf")  # monotonic

    def keep(self, partitions: Sequence[int] = (0,)) -> None:
        """To be called often, with the partitions that are there; looks once a second. Does nothing
        where Redis is away."""
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + _LOOK_EVERY
        try:
            memory = memory_of(self._client)
            if not memory.limit:
                return
            self._bounds.stream_bytes = self._room(memory.limit // 2, partitions)
            self._bounds.seen_ids = max(1, memory.limit // _SETS_OF_A_SHOP // _ID_BYTES)
            if memory.used > _SHORT * memory.limit and now >= self._search_at:
                surplus = memory.used - int(_ENOUGH * memory.limit)
                if not self._forget(surplus // _ID_BYTES):
                    self._search_at = now + _SEARCH_EVERY
        except RedisError:
            self._search_at = now + _SEARCH_EVERY  # it is refused or away, and others say so

    def _room(self, most: int, partitions: Sequence[int]) -> int:
        """What a stream may hold (bytes), where all streams of the server may hold `most`. One by
        itself needs no looking after: the script knows its size."""
        if len(partitions) > 1:
            streams = [keys.stream(partition) for partition in partitions]
            if backlog.bytes_waiting(self._client, streams) >= most:
                return 0
        return min(self._most_stream_bytes, most)

    def _forget(self, number: int) -> int:
        """Forget at least so many seen ids, if there are so many; returns how many."""
        shops = self._shops()
        forgotten = 0
        while forgotten < number and shops:
            shop = max(shops, key=lambda shop: sum(shops[shop].values()))
            oldest = min(shops[shop], key=_bucket)
            forgotten += shops[shop].pop(oldest)
            self._client.unlink(oldest)
            if not shops[shop]:
                del shops[shop]
        if forgotten:
            self._outcomes.count({"seen_forgotten": forgotten})
            logger.warning(
                "Redis is short of memory: seen ids are forgotten, Postgres tells repeats",
                extra={"action": "seen_forgotten", "ids": forgotten},
            )
        return forgotten

    def _shops(self) -> dict[bytes, dict[bytes, int]]:
        """The sets of seen ids and how many each has, by shop."""
        names = list(self._client.scan_iter(match="{t*}:seen:*", count=1_000))
        with self._client.pipeline(transaction=False) as pipeline:
            for name in names:
                pipeline.scard(name)
            sizes = pipeline.execute()
        shops: defaultdict[bytes, dict[bytes, int]] = defaultdict(dict)
        for name, size in zip(names, sizes, strict=True):
            shops[name.rpartition(b":")[0]][name] = size
        return shops


def _bucket(name: bytes) -> int:
    return int(name.rpartition(b":")[2])
