"""Reads the streams as one of a consumer group and stores what it reads.

An entry leaves the stream only after its events are committed: COMMIT, then XACK and XDEL. What
happens between the two is a redelivery, and the key in Postgres makes it harmless.
"""

import logging
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, NamedTuple

from redis import Redis, ResponseError

from app.batch.batch import Batch
from app.intake.keys import GROUP

logger = logging.getLogger(__name__)

READ_BATCHES = 1_000  # entries to one transaction, of 1 to 50 events each
STEP = 100  # entries to one command: while it works at them, Redis answers nobody else
_ROUNDS = 50  # of a backlog, before entries of dead consumers are looked for again
_PARALLEL = 3  # transactions of a backlog: Postgres has work while one begins or commits
LINGER = 0.25  # s, for more entries to share the transaction with
BLOCK = 1_000  # ms, must be shorter than the client's socket timeout
RECLAIM_AFTER = 30_000  # ms an entry may be with a consumer before another takes it over
RECLAIM_EVERY = 10.0  # s
FORGET_AFTER = 60 * 60 * 1000  # ms of silence after which a consumer without entries is dead

# To delete a consumer drops what it has pending: looked at and deleted in one step.
_LEAVE = """
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
    local fields = {}
    for i = 1, #consumer, 2 do fields[consumer[i]] = consumer[i + 1] end
    if fields.name == ARGV[2] and fields.pending == 0 then
        redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
    end
end
"""


class Entry(NamedTuple):
    stream: str
    id: bytes
    fields: Mapping[bytes, bytes]


class Consumer:
    def __init__(
        self,
        redis: Redis,
        parse: Callable[[Entry], Batch],
        store: Callable[[list[Batch]], None],
        *,
        streams: list[str],
        name: str,
    ) -> None:
        """`store` returns when the batches are committed, and raises when they are not. Several
        threads call it at the same time."""
        self._redis = redis
        self._parse = parse
        self._store = store
        self._storing = ThreadPoolExecutor(_PARALLEL, "store")
        self._streams = streams
        self._name = name
        self._reclaimed_at = float("-inf")

    def join_groups(self) -> None:
        """From the stream's first entry on: a group made at its end would skip what waits."""
        for stream in self._streams:
            try:
                self._redis.xgroup_create(stream, GROUP, id="0", mkstream=True)
            except ResponseError as error:
                if "BUSYGROUP" not in str(error):
                    raise

    def adopt(self, is_gone: Callable[[str], bool]) -> None:
        """Take over at once what was read by consumers that `is_gone` knows to have ended."""
        for stream in self._streams:
            for name, pending in self._consumers(stream):
                if pending and name != self._name and is_gone(name):
                    entries: Any = self._redis.xpending_range(
                        stream, GROUP, "-", "+", pending, consumername=name
                    )
                    ids = [entry["message_id"] for entry in entries]
                    self._redis.xclaim(stream, GROUP, self._name, 0, ids, justid=True)
                    logger.info(
                        "took over entries of a predecessor",
                        extra={"action": "adopted", "entries": len(ids)},
                    )

    def store_pending(self) -> None:
        """Store what was delivered to this consumer and is not acknowledged."""
        entries = self._read("0")
        while self._store_and_acknowledge(entries, self._batches(entries)):
            entries = self._read("0")

    def run_once(self, stop: threading.Event) -> bool:
        """Read, store, acknowledge; False where no entry came in time.

        An error leaves the entries that were read pending, for `store_pending`.
        """
        entries = self._reclaim() or self._read_new()
        if len(entries) >= READ_BATCHES:
            self._store_backlog(entries, stop)
            return True
        if entries and not stop.wait(LINGER):
            entries += self._read_up_to(READ_BATCHES - len(entries))
        return self._store_and_acknowledge(entries, self._batches(entries))

    def leave(self) -> None:
        """Leave the groups, where nothing is left to store: a worker that stopped is not shown."""
        for stream in self._streams:
            self._redis.eval(_LEAVE, 1, stream, GROUP, self._name)

    def _store_backlog(self, entries: list[Entry], stop: threading.Event) -> None:
        """Read, parse and acknowledge while Postgres stores."""
        under_way: deque[tuple[list[Entry], Future[None]]] = deque()
        try:
            rounds = 0
            while entries:
                batches = self._batches(entries)
                stored = _await_oldest(under_way) if len(under_way) == _PARALLEL else []
                under_way.append((entries, self._storing.submit(self._store, batches)))
                self._acknowledge(stored)
                rounds += 1
                is_last = len(entries) < READ_BATCHES or rounds == _ROUNDS or stop.is_set()
                entries = [] if is_last else self._read_up_to(READ_BATCHES)
            while under_way:
                self._acknowledge(_await_oldest(under_way))
        finally:
            wait([storing for _, storing in under_way])

    def _batches(self, entries: list[Entry]) -> list[Batch]:
        return [self._parse(entry) for entry in entries if entry.fields]

    def _read_new(self) -> list[Entry]:
        entries = self._read(">", block=BLOCK)
        return entries + self._read_up_to(READ_BATCHES - len(entries)) if entries else []

    def _read_up_to(self, most: int) -> list[Entry]:
        """What waits, up to `most` entries or a few more."""
        entries: list[Entry] = []
        while len(entries) < most:
            some = self._read(">")
            entries += some
            if len(some) < STEP:
                break
        return entries

    def _read(self, start: str, *, block: int | None = None) -> list[Entry]:
        """Up to STEP of each stream."""
        answer: Any = self._redis.xreadgroup(
            GROUP, self._name, dict.fromkeys(self._streams, start), count=STEP, block=block
        )
        return [
            Entry(stream.decode(), id_, fields or {})
            for stream, items in answer or ()
            for id_, fields in items
        ]

    def _reclaim(self) -> list[Entry]:
        """Entries that another consumer read long ago and never acknowledged: dead or stuck."""
        if time.monotonic() - self._reclaimed_at < RECLAIM_EVERY:
            return []
        self._reclaimed_at = time.monotonic()
        entries: list[Entry] = []
        for stream in self._streams:
            self._forget_dead_consumers(stream)
            answer: Any = self._redis.xautoclaim(
                stream, GROUP, self._name, RECLAIM_AFTER, count=READ_BATCHES
            )
            entries += [Entry(stream, id_, fields) for id_, fields in answer[1] if fields]
        if entries:
            self._reclaimed_at = float("-inf")  # there may be more
            logger.info(
                "took over entries of a consumer that is gone",
                extra={"action": "reclaimed", "entries": len(entries)},
            )
        return entries

    def _consumers(self, stream: str) -> list[tuple[str, int]]:
        """Each consumer's name, and how many entries it has read and not acknowledged."""
        consumers: Any = self._redis.xinfo_consumers(stream, GROUP)
        return [(consumer["name"].decode(), consumer["pending"]) for consumer in consumers]

    def _forget_dead_consumers(self, stream: str) -> None:
        consumers: Any = self._redis.xinfo_consumers(stream, GROUP)
        for consumer in consumers:
            # Only those without entries: to delete a consumer drops what it has pending.
            if consumer["pending"] == 0 and consumer["idle"] > FORGET_AFTER:
                self._redis.xgroup_delconsumer(stream, GROUP, consumer["name"])

    def _store_and_acknowledge(self, entries: list[Entry], batches: list[Batch]) -> bool:
        if not entries:
            return False
        self._store(batches)
        self._acknowledge(entries)
        return True

    def _acknowledge(self, entries: list[Entry]) -> None:
        ids = defaultdict(list)
        for entry in entries:
            ids[entry.stream].append(entry.id)
        for stream, stored in ids.items():
            for start in range(0, len(stored), STEP):
                some = stored[start : start + STEP]
                with self._redis.pipeline(transaction=False) as pipeline:
                    pipeline.xack(stream, GROUP, *some)
                    pipeline.xdel(stream, *some)  # XACK alone does not free the memory
                    pipeline.execute()


def _await_oldest(under_way: deque[tuple[list[Entry], Future[None]]]) -> list[Entry]:
    """The entries of the first transaction that was begun; it is committed."""
    entries, storing = under_way.popleft()
    storing.result()
    return entries
