"""The first journal: the Redis streams of one server, with the filter of seen ids before them."""

import logging
import time
from collections import Counter
from contextlib import suppress

from redis import Redis
from redis.exceptions import MovedError, OutOfMemoryError

from app.intake import keys
from app.intake.backlog import LARGE
from app.intake.breaker import CircuitBreaker
from app.intake.limits import KEY_LIFETIME, Limits, RateLimited, seconds_to_next_minute
from app.intake.memory import Bounds
from app.intake.outcomes import Outcomes
from app.intake.redis_client import anew
from app.intake.script import Script
from app.intake.submission import Submission
from app.intake.trust import Trust, ask

COUNTS_LIFETIME = 8 * 24 * 60 * 60  # s
SKIPPED_LIFETIME = 5  # s, several times the rhythm of reports

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
        trust: Trust | None = None,
    ) -> None:
        """Without a `trust`, the server may always hold batches."""
        self.breaker = breaker
        self.client = client
        self.trust = trust or Trust("stream")
        self.bounds = bounds
        self._script = Script(client, self.trust.admit)
        self._outcomes = outcomes
        self._partitions = partitions
        self._max_batches = max_batches
        self._partition = 0  # of the last batch
        self._full_since = 0.0  # Unix seconds; 0 while it takes batches
        self._full_at = 0.0  # the last time it did not
        self._dedup_window = dedup_window
        self._limits = limits

    async def append(self, submission: Submission, *, asking: bool = False) -> int:
        """Take the batch over; returns how many of its events were seen before. `asking` where
        another node of a cluster has sent us to this one with ASK.

        RateLimited: no journal should take it. Untrusted, StreamFull: it is not in the stream, ask
        the next journal; Redis answers. redis.RedisError: it may be in the stream, ask the next
        journal too; AskError, which MovedError is as well: another node.
        """
        batch = submission.batch
        partition = self._partition = keys.partition(batch.shop, self._partitions)
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
                    COUNTS_LIFETIME,
                    KEY_LIFETIME,
                    submission.received_count,
                    charges.valid,
                    charges.rejected,
                    len(batch.events),
                    self.bounds.stream_bytes,
                    LARGE,
                    self.bounds.seen_ids,
                    *batch.to_entry().values(),
                    batch.news,
                    batch.trace,
                    *charges.args,
                    *batch.keys,
                    *(part for pair in counts.items() for part in pair),
                ],
                asking=asking,
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
        is_full = self._full_since and time.time() - self._full_at < SKIPPED_LIFETIME
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

    def ping(self) -> None:
        """redis.RedisError: Redis does not take writes. Whether it has room, each batch tells."""
        with suppress(OutOfMemoryError, MovedError):  # it is there, and nothing of ours
            self.client.set(keys.probe(self._partition), b"", px=1)  # a replica refuses

    def ask_again(self) -> None:
        """Whether the server may still hold batches. redis.RedisError."""
        with anew(self.client) as client:  # over a new connection: a failover moves its name
            self.trust.hear(ask(client))

    def close(self) -> None:
        self._script.close()
