"""The first journal: a Redis stream, with the filter of seen ids before it."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress

from redis import Redis
from redis.exceptions import OutOfMemoryError

from app.intake import keys
from app.intake.backlog import LARGE
from app.intake.breaker import CircuitBreaker
from app.intake.limits import KEY_LIFETIME, Limits, RateLimited, seconds_to_next_minute
from app.intake.memory import Bounds
from app.intake.outcomes import Outcomes
from app.intake.script import Script
from app.intake.submission import Submission
from app.intake.trust import Info

_COUNTS_LIFETIME = 8 * 24 * 60 * 60  # s
_SKIPPED_LIFETIME = 5  # s, several times the rhythm of reports

# A Redis that is full must not hide itself: these few bytes are written all the same.
# KEYS  1 the counts of the day, 2 the all-time counts, then the notices of skipped journals
# ARGV  1 lifetime of the counts, 2 of a notice (s), since when each journal is skipped, pairs of
#       an outcome's name and its number
_REPORT = """#!lua flags=allow-oom
for i = 3, #KEYS do
    redis.call('SET', KEYS[i], ARGV[i], 'EX', ARGV[2])
end
for i = #KEYS + 1, #ARGV, 2 do
    redis.call('HINCRBY', KEYS[1], ARGV[i], ARGV[i + 1])
    redis.call('HINCRBY', KEYS[2], ARGV[i], ARGV[i + 1])
    redis.call('EXPIRE', KEYS[1], ARGV[1], 'NX')
end
"""

logger = logging.getLogger(__name__)


class StreamFull(Exception):
    """No worker stores what the stream holds, or Redis is full of something else."""


class Stream:
    name = "stream"

    def __init__(
        self,
        client: Redis,
        outcomes: Outcomes,
        *,
        breaker: CircuitBreaker,
        partitions: int,
        max_batches: int,
        bounds: Bounds,
        dedup_window: int,
        limits: Limits,
        admit: Callable[[Info], None] = lambda info: None,
    ) -> None:
        """`admit` is told about the server at the end of each new connection for batches. What it
        raises, `append` raises."""
        self.breaker = breaker
        self._client = client
        self._script = Script(client, admit)
        self._report = client.register_script(_REPORT)
        self._outcomes = outcomes
        self._partitions = partitions
        self._max_batches = max_batches
        self._bounds = bounds
        self._full_since = 0.0  # Unix seconds; 0 while it takes batches
        self._full_at = 0.0  # the last time it did not
        self._dedup_window = dedup_window
        self._limits = limits

    async def append(self, submission: Submission) -> int:
        """Take the batch over; returns how many of its events were seen before.

        RateLimited: no journal should take it. Untrusted, StreamFull: it is not in the stream, ask
        the next journal; Redis answers. redis.RedisError: it may be in the stream, ask the next
        journal too.
        """
        batch = submission.batch
        partition = keys.partition(batch.shop, self._partitions)
        stream = keys.stream(partition)
        now = time.time()
        charges = self._limits.of(submission, partition, now)
        carried = self._outcomes.take()
        counts = carried
        if submission.rejected_count or submission.repeats:  # adding leaves zeros out
            known = Counter(rejected=submission.rejected_count, duplicate=submission.repeats)
            counts = Counter(carried) + known
        try:
            answer = await self._script(
                [
                    stream,
                    keys.counts(partition, now),
                    keys.total(partition),
                    keys.size(stream),
                    *charges.counters,
                    *keys.seen(partition, batch.shop, now, self._dedup_window),
                ],
                [
                    self._max_batches,
                    keys.seen_lifetime(self._dedup_window),
                    _COUNTS_LIFETIME,
                    KEY_LIFETIME,
                    submission.received_count,
                    charges.valid,
                    charges.rejected,
                    len(batch.events),
                    self._bounds.stream_bytes,
                    LARGE,
                    self._bounds.seen_ids,
                    *batch.to_entry().values(),
                    batch.trace,
                    *charges.args,
                    *batch.keys,
                    *(part for pair in counts.items() for part in pair),
                ],
            )
        except OutOfMemoryError as error:
            self._outcomes.count(carried)
            raise self._full(now, "Redis has no memory left") from error
        except BaseException:
            self._outcomes.count(carried)
            raise
        if answer == b"FULL":
            self._outcomes.count(carried)
            raise self._full(now, "the stream is at its cap")
        if answer == b"LIMITED":
            self._outcomes.count(carried)
            raise RateLimited(seconds_to_next_minute(now))
        if self._full_since:
            logger.info("the stream takes batches again", extra={"action": "stream_back"})
            self._full_since = 0.0
        return int(answer)

    @property
    def full_since(self) -> float | None:
        """Unix seconds; None where it takes batches, or was not asked for a while."""
        is_full = self._full_since and time.time() - self._full_at < _SKIPPED_LIFETIME
        return self._full_since if is_full else None

    def _full(self, now: float, cause: str) -> StreamFull:
        if not self._full_since:
            self._full_since = now
            logger.warning(
                "the stream is full; the store takes the batches",
                extra={"action": "stream_full", "cause": cause},
            )
        self._full_at = now
        return StreamFull(cause)

    def report(self, skipped: Mapping[str, float]) -> None:
        """Carry on what was counted, without a batch, and since when (Unix seconds) which journals
        are skipped. redis.RedisError: what was counted waits for the next call."""
        carried = self._outcomes.take()
        if not carried and not skipped:
            return
        names = [keys.counts(0, time.time()), keys.total(0), *map(keys.skipped, skipped)]
        counted = [part for pair in carried.items() for part in pair]
        try:
            self._report(
                keys=names, args=[_COUNTS_LIFETIME, _SKIPPED_LIFETIME, *skipped.values(), *counted]
            )
        except BaseException:
            self._outcomes.count(carried)
            raise

    def ping(self) -> None:
        """redis.RedisError: Redis does not take writes. Whether it has room, each batch tells."""
        with suppress(OutOfMemoryError):
            self._client.set(keys.probe(), b"", px=1)  # a replica refuses

    def close(self) -> None:
        self._script.close()
        self._client.close()
