"""Reads the streams of a server as one of a consumer group and stores what it reads.

An entry leaves the stream only after its events are committed: COMMIT, then XACK and XDEL. What
happens between the two is a redelivery, and the key in Postgres makes it harmless.

A stream that fails by itself, because its slot moves to another node, is left out and joined anew
soon. What was read of it waits there for this consumer.

An entry of a newer release stays in the stream. It is set aside: handed to a consumer that stands
for its form, where workers that can read it look for it, and nobody else does.
"""

import logging
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, NamedTuple

from redis import Redis, ResponseError

from app.batch.batch import FORM, Batch
from app.batch.form import Form, NewerEntry
from app.intake import backlog, keys
from app.intake.keys import GROUP
from config.causes import cause

logger = logging.getLogger(__name__)

READ_BATCHES = 1_000  # entries to one transaction, of 1 to 50 events each
READ_BYTES = 4 * 1024 * 1024  # of them, and what is read last: rows are held in several forms
_ROUNDS = 50  # of a backlog, before entries of dead consumers are looked for again
_PARALLEL = 3  # transactions of a backlog: Postgres has work while one begins or commits
LINGER = 0.25  # s, for more entries to share the transaction with
_POLL = 0.1  # s, where no command can wait for all streams
_JOIN_EVERY = 0.5  # s, of streams that were left out
BLOCK = 1_000  # ms, must be shorter than the client's socket timeout
RECLAIM_AFTER = 30_000  # ms an entry may be with a consumer before another takes it over
RECLAIM_EVERY = 10.0  # s
FORGET_AFTER = 60 * 60 * 1000  # ms of silence after which a consumer without entries is dead

# On a full Redis too, or nobody would ever empty the stream.
_JOIN = """#!lua flags=allow-oom
return redis.call('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0', 'MKSTREAM')
"""

# To delete a consumer drops what it has pending: looked at and deleted in one step.
_FORGET = """
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
    local fields = {}
    for i = 1, #consumer, 2 do fields[consumer[i]] = consumer[i + 1] end
    local is_over = fields.name == ARGV[2] or fields.idle > tonumber(ARGV[3])
    if is_over and fields.pending == 0 then
        redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], fields.name)
    end
end
"""


class Entry(NamedTuple):
    stream: str
    id: bytes
    fields: Mapping[bytes, bytes]
    size: int  # bytes


class Consumer:
    def __init__(
        self,
        redis: Redis,
        parse: Callable[[Entry], Batch],
        store: Callable[[list[Batch]], None],
        *,
        streams: Callable[[], list[str]],
        name: str,
        is_gone: Callable[[str], bool] = lambda name: False,
        is_cluster: Callable[[], bool | None] = lambda: False,
        turn: "threading.Lock | None" = None,  # no class up to Python 3.12
    ) -> None:
        """`store` returns when the batches are committed, and raises when they are not. Several
        threads call it at the same time.

        `streams` are those of the server, asked for at each step. What was read by consumers that
        `is_gone` knows to have ended is taken over at once. In a cluster each command reads one
        stream. Those that share a `turn` do not have their backlogs in memory together.
        """
        self._redis = redis
        self._parse = parse
        self._store = store
        self._storing = ThreadPoolExecutor(_PARALLEL, "store")
        self._assigned = streams
        self._streams: list[str] = []  # those that were joined
        self._left_out: set[str] = set()
        self._join_at = float("-inf")  # monotonic
        self._name = name
        self._is_gone = is_gone
        self._is_cluster = is_cluster
        self._turn = turn or threading.Lock()
        self._reclaimed_at = float("-inf")
        self._told: set[Form] = set()

    def join(self) -> None:
        """Join the streams that are assigned and not joined yet; store what was delivered to this
        consumer, or to one that is gone, and is not acknowledged."""
        assigned = self._assigned()
        if time.monotonic() < self._join_at or set(self._streams) == set(assigned):
            return
        self._join_at = time.monotonic() + _JOIN_EVERY
        self._streams = [stream for stream in self._streams if stream in assigned]
        for stream in assigned:
            if stream not in self._streams:
                try:
                    self._join(stream)
                except ResponseError as error:
                    self._leave_out(stream, error)

    def let_go(self) -> None:
        """All streams are to be joined anew."""
        self._streams, self._join_at = [], float("-inf")

    def _join(self, stream: str) -> None:
        """From the stream's first entry on: a group made at its end would skip what waits."""
        try:
            self._redis.eval(_JOIN, 1, stream, GROUP)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise
        self._adopt(stream)
        self._streams.append(stream)
        while stream in self._streams and (read := self._read("0", [stream])[0]):
            self._store_and_acknowledge(read)
        if stream in self._streams:
            self._left_out.discard(stream)

    def _adopt(self, stream: str) -> None:
        """Take over at once what was read by consumers that have ended."""
        for name, pending in self._consumers(stream):
            if pending and name != self._name and self._is_gone(name):
                entries: Any = self._redis.xpending_range(
                    stream, GROUP, "-", "+", pending, consumername=name
                )
                ids = [entry["message_id"] for entry in entries]
                self._redis.xclaim(stream, GROUP, self._name, 0, ids, justid=True)
                logger.info(
                    "took over entries of a predecessor",
                    extra={"action": "adopted", "entries": len(ids)},
                )

    def _leave_out(self, stream: str, error: ResponseError) -> None:
        """Until it is joined anew."""
        self._streams = [one for one in self._streams if one != stream]
        if stream not in self._left_out:  # once, and not for every try
            self._left_out.add(stream)
            logger.info(
                "a stream is left out for now, nothing is lost",
                extra={"action": "stream_left_out", "stream": stream, "cause": cause(error)},
            )

    def run_once(self, stop: threading.Event) -> bool:
        """Join, read, store, acknowledge; False where no entry came in time.

        An error leaves the entries that were read pending, for when their stream is joined anew.
        """
        self.join()
        entries = self._reclaim()
        if not entries:
            entries = self._read_new(stop)
            if _is_enough(entries):
                with self._turn:
                    self._store_backlog(entries, stop)
                return True
            if entries and not stop.wait(LINGER):
                entries = self._read_on(entries, self._streams)
        if entries:
            self._store_and_acknowledge(entries)
        return bool(entries)

    def leave(self) -> None:
        """Leave the groups, where nothing is left to store: a worker that stopped is not shown."""
        for stream in self._assigned():
            self._forget(stream, self._name)

    def _store_backlog(self, entries: list[Entry], stop: threading.Event) -> None:
        """Read, parse and acknowledge while Postgres stores."""
        under_way: deque[tuple[list[Entry], Future[None]]] = deque()
        try:
            rounds = 0
            while entries:
                readable, batches = self._parse_all(entries)
                stored = _await_oldest(under_way) if len(under_way) == _PARALLEL else []
                under_way.append((readable, self._storing.submit(self._store, batches)))
                self._acknowledge(stored)
                rounds += 1
                is_last = not _is_enough(entries) or rounds == _ROUNDS or stop.is_set()
                entries = [] if is_last else self._read_on([], self._streams)
            while under_way:
                self._acknowledge(_await_oldest(under_way))
        finally:
            wait([storing for _, storing in under_way])

    def _parse_all(self, entries: list[Entry]) -> tuple[list[Entry], list[Batch]]:
        """The entries that this release can read, and their batches; the others are set aside."""
        readable: list[Entry] = []
        batches: list[Batch] = []
        newer: dict[tuple[str, Form], list[Any]] = defaultdict(list)
        for entry in entries:
            try:
                if entry.fields:
                    batches.append(self._parse(entry))
                readable.append(entry)
            except NewerEntry as error:
                newer[entry.stream, error.form].append(entry.id)
        for (stream, form), ids in newer.items():
            self._set_aside(stream, form, ids)
        return readable, batches

    def _set_aside(self, stream: str, form: Form, ids: list[Any]) -> None:
        """Left in the stream, pending, and due at once for a worker that can read them."""
        self._redis.xclaim(
            stream, GROUP, keys.set_aside(form), 0, ids, idle=RECLAIM_AFTER, justid=True
        )
        if form not in self._told:  # once, and not for every entry
            self._told.add(form)
            logger.warning(
                "entries of a newer release wait in the stream for its worker",
                extra={"action": "newer_entries", "form": str(form)},
            )

    def _read_new(self, stop: threading.Event) -> list[Entry]:
        self._streams = self._streams[1:] + self._streams[:1]  # each comes first at some time
        entries, more = self._read(">", self._streams, block=BLOCK)
        entries = self._read_on(entries, more)
        if not entries and (more or not self._can_block):
            stop.wait(_POLL)
        return entries

    def _read_on(self, entries: list[Entry], streams: list[str]) -> list[Entry]:
        """The entries, and what waits after them, until it is enough or nothing waits."""
        size = _size(entries)
        while streams and len(entries) < READ_BATCHES and size < READ_BYTES:
            some, streams = self._read(">", streams)
            entries += some
            size += _size(some)
        return entries

    @property
    def _can_block(self) -> bool:
        return bool(self._streams) and not self._is_cluster()

    def _read(
        self, start: str, streams: list[str], *, block: int | None = None
    ) -> tuple[list[Entry], list[str]]:
        """What may be read at once, and the streams that may have more."""
        if not streams:
            return [], []
        at_once = backlog.entries_at_once(self._redis, streams)
        some, more = streams[:at_once], streams[at_once:]
        count = -(-at_once // len(some))
        if self._is_cluster():
            answers = self._read_each(start, some, count)
        else:
            answer: Any = self._redis.xreadgroup(
                GROUP,
                self._name,
                dict.fromkeys(some, start),
                count=count,
                block=None if more else block,
            )
            answers = [(stream.decode(), items) for stream, items in answer or ()]
        return (
            [_entry(stream, id_, fields) for stream, items in answers for id_, fields in items],
            [stream for stream, items in answers if len(items) == count] + more,
        )

    def _read_each(self, start: str, streams: list[str], count: int) -> list[tuple[str, Any]]:
        """Their slots may be no neighbours: a command for each."""
        with self._redis.pipeline(transaction=False) as pipeline:
            for stream in streams:
                pipeline.xreadgroup(GROUP, self._name, {stream: start}, count=count)
            answers = pipeline.execute(raise_on_error=False)
        read: list[tuple[str, Any]] = []
        for stream, answer in zip(streams, answers, strict=True):
            if isinstance(answer, ResponseError):
                self._leave_out(stream, answer)
            elif answer:
                read.append((stream, answer[0][1]))
        return read

    def _reclaim(self) -> list[Entry]:
        """Entries that another consumer read long ago and never acknowledged, dead or stuck; those
        that an older release has set aside; and its own that a failover brought back.

        Also to be seen while nothing comes: up to Redis 7.0 a read that waits in vain does not
        count."""
        if time.monotonic() - self._reclaimed_at < RECLAIM_EVERY:
            return []
        self._reclaimed_at = time.monotonic()
        entries, _ = self._read("0", self._streams)  # its own; nothing is under way here
        for stream in list(self._streams):
            try:
                entries += self._reclaim_from(stream) if not _is_enough(entries) else []
            except ResponseError as error:
                self._leave_out(stream, error)
        if entries:
            self._reclaimed_at = float("-inf")  # there may be more
            logger.info(
                "took over entries that were held for long or set aside",
                extra={"action": "reclaimed", "entries": len(entries)},
            )
        return entries

    def _reclaim_from(self, stream: str) -> list[Entry]:
        self._forget(stream, "")
        entries: list[Entry] = []
        for name, pending in self._consumers(stream):
            form = keys.form_set_aside(name)
            is_readable = name != self._name and (form is None or form.is_readable_by(FORM))
            if pending and is_readable and not _is_enough(entries):
                entries += self._take_over(stream, name)
        return entries

    def _take_over(self, stream: str, name: str) -> list[Entry]:
        """What a consumer has held for RECLAIM_AFTER. Two who take over at once share it."""
        at_once = backlog.entries_at_once(self._redis, [stream])
        pending: Any = self._redis.xpending_range(
            stream, GROUP, "-", "+", at_once, consumername=name, idle=RECLAIM_AFTER
        )
        if not pending:
            return []
        ids = [entry["message_id"] for entry in pending]
        claimed: Any = self._redis.xclaim(stream, GROUP, self._name, RECLAIM_AFTER, ids)
        return [_entry(stream, id_, fields) for id_, fields in claimed if fields]

    def _consumers(self, stream: str) -> list[tuple[str, int]]:
        """Each consumer's name, and how many entries it has read and not acknowledged."""
        consumers: Any = self._redis.xinfo_consumers(stream, GROUP)
        return [(consumer["name"].decode(), consumer["pending"]) for consumer in consumers]

    def _forget(self, stream: str, name: str) -> None:
        """Those that have been silent for FORGET_AFTER, and the one of the name, if they hold
        nothing."""
        self._redis.eval(_FORGET, 1, stream, GROUP, name, FORGET_AFTER)

    def _store_and_acknowledge(self, entries: list[Entry]) -> None:
        readable, batches = self._parse_all(entries)
        self._store(batches)
        self._acknowledge(readable)

    def _acknowledge(self, entries: list[Entry]) -> None:
        sizes: defaultdict[str, dict[bytes, int]] = defaultdict(dict)
        for entry in entries:
            sizes[entry.stream][entry.id] = entry.size
        for stream, answer in backlog.remove(self._redis, sizes):
            if isinstance(answer, ResponseError):
                self._leave_out(stream, answer)


def _entry(stream: str, id_: bytes, fields: Mapping[bytes, bytes] | None) -> Entry:
    """Without fields where it was deleted meanwhile."""
    return Entry(stream, id_, fields or {}, backlog.size_of(fields or {}))


def _is_enough(entries: list[Entry]) -> bool:
    """For a transaction."""
    return len(entries) >= READ_BATCHES or _size(entries) >= READ_BYTES


def _size(entries: list[Entry]) -> int:
    return sum([entry.size for entry in entries])


def _await_oldest(under_way: deque[tuple[list[Entry], Future[None]]]) -> list[Entry]:
    """The entries of the first transaction that was begun; it is committed."""
    entries, storing = under_way.popleft()
    storing.result()
    return entries
