"""What still waits in the stream and in this machine's spool, before it is in Postgres.

Whoever searches waits as long as the shop has entries of a newer release there (NewerEntry): only
that release knows all that is in them.
"""

import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from redis import Redis, ResponseError

from app.batch.batch import Batch, UnreadableEntry
from app.intake import backlog, keys
from app.intake.nodes import Nodes
from app.intake.redis_client import worker_client
from app.intake.spool import Spool
from app.intake.spool_notice import waits_since_before
from app.privacy.senders import sender
from config.causes import cause
from config.settings import Settings

logger = logging.getLogger(__name__)

_SPOOLED_AT_ONCE = 10  # batches, each of up to a few MiB


class Journals:
    def __init__(self, nodes: Nodes, spool: Spool) -> None:
        self._nodes = nodes
        self._spool = spool

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """For a process of its own: the worker, a command. Connects at its first use."""
        spool = Spool(Path(settings.spool_dir), max_bytes=settings.spool_max_bytes)
        return cls(Nodes(worker_client(settings)), spool)

    def remove(self, shop: str, is_meant: Callable[[Batch], bool]) -> int:
        """Take out the shop's batches that are meant; returns how many. redis.RedisError,
        NewerEntry.

        A batch that is on its way into Postgres just now arrives there all the same.
        """
        removed = 0
        for node, stream, id_, size, batch in self._in_streams(shop):
            if is_meant(batch):
                [(_, answer)] = backlog.remove(node, {stream: {id_: size}})
                if isinstance(answer, ResponseError):
                    raise answer
                removed += answer
        spooled = [number for number, batch in self._in_spool(shop) if is_meant(batch)]
        if spooled:
            self._spool.remove(spooled)
        return removed + len(spooled)

    def batches(self, shop: str) -> Iterator[Batch]:
        """All of the shop's that wait. redis.RedisError, NewerEntry."""
        for *_, batch in self._in_streams(shop):
            yield batch
        for _, batch in self._in_spool(shop):
            yield batch

    def last_received(self, shop: str) -> datetime | None:
        """When the newest of the shop's batches that wait was received. redis.RedisError,
        NewerEntry."""
        received = [sender(batch).received_at for batch in self.batches(shop)]
        return max(filter(None, received), default=None)

    def any_spooled(self, before: datetime) -> bool:
        """Whether some machine's spool holds what it took before a time. redis.RedisError."""
        self._nodes.refresh()
        return waits_since_before(self._nodes, before.timestamp())

    def forget_shop(self, shop: str) -> None:
        """Delete the keys that bear the shop's name: sets of seen ids, rate counters, …"""
        self._nodes.refresh()
        for node in self._nodes.all():
            found = list(node.scan_iter(match=f"{{t*}}:*:{shop}:*", count=1_000))
            with node.pipeline(transaction=False) as pipeline:
                for name in found:  # of several slots, perhaps
                    pipeline.delete(name)
                pipeline.execute()

    def close(self) -> None:
        self._nodes.close()
        self._spool.close()

    def _in_streams(self, shop: str) -> Iterator[tuple[Redis, str, bytes, int, Batch]]:
        """Each with its node, stream, id and size in bytes. In whichever stream: there may have
        been fewer when it came."""
        self._nodes.refresh()
        for partition in self._nodes.partitions():
            node, stream = self._nodes.of(partition), keys.stream(partition)
            for id_, size, batch in _in_stream(node, stream, shop):
                yield node, stream, id_, size, batch

    def _in_spool(self, shop: str) -> Iterator[tuple[int, Batch]]:
        after = 0
        try:
            while spooled := self._spool.oldest(_SPOOLED_AT_ONCE, after=after):
                for one in spooled:
                    if one.entry[b"shop"] == shop.encode():
                        with suppress(UnreadableEntry):
                            yield one.id, Batch.from_entry(one.entry)
                after = spooled[-1].id
        except (OSError, sqlite3.Error) as error:
            # What comes out of it later is found in Postgres then.
            logger.warning(
                "the spool of this machine cannot be searched",
                extra={"action": "spool_not_searched", "cause": cause(error)},
            )


def _in_stream(node: Redis, stream: str, shop: str) -> Iterator[tuple[bytes, int, Batch]]:
    newest: Any = node.xrevrange(stream, count=1)
    if not newest:
        return
    start, end = "-", newest[0][0]
    while True:
        at_once = backlog.entries_at_once(node, [stream])
        entries: Any = node.xrange(stream, start, end, count=at_once)
        for id_, fields in entries:
            if fields.get(b"shop") == shop.encode():
                with suppress(UnreadableEntry):  # the worker keeps it as rejected
                    yield id_, backlog.size_of(fields), Batch.from_entry(fields)
        if len(entries) < at_once:
            return
        start = b"(" + entries[-1][0]
