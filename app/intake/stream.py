"""The first journal: a Redis stream, with the filter of seen ids before it."""

import time
from collections import Counter
from collections.abc import Mapping

from redis import Redis

from app.intake import keys
from app.intake.backlog import LARGE
from app.intake.breaker import CircuitBreaker
from app.intake.limits import KEY_LIFETIME, Limits, RateLimited, seconds_to_next_minute
from app.intake.outcomes import Outcomes
from app.intake.script import Script
from app.intake.submission import Submission

_COUNTS_LIFETIME = 8 * 24 * 60 * 60  # s
_SKIPPED_LIFETIME = 5  # s, several times the rhythm of reports


class StreamFull(Exception):
    """The backlog is at its cap: no worker stores what the stream holds."""


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
        max_bytes: int,
        dedup_window: int,
        limits: Limits,
    ) -> None:
        self.breaker = breaker
        self._client = client
        self._script = Script(client)
        self._outcomes = outcomes
        self._partitions = partitions
        self._max_batches = max_batches
        self._max_bytes = max_bytes
        self._dedup_window = dedup_window
        self._limits = limits

    async def append(self, submission: Submission) -> int:
        """Take the batch over; returns how many of its events were seen before.

        RateLimited: no journal should take it. StreamFull: it is not in the stream, ask the next
        journal. redis.RedisError: it may be in the stream, ask the next journal too.
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
                    keys.sizes(stream),
                    *charges.counters(),
                    *keys.seen(partition, batch.shop, now, self._dedup_window),
                ],
                [
                    self._max_batches,
                    keys.seen_lifetime(self._dedup_window),
                    _COUNTS_LIFETIME,
                    KEY_LIFETIME,
                    submission.received_count,
                    len(charges.valid),
                    len(charges.rejected),
                    len(batch.events),
                    self._max_bytes,
                    LARGE,
                    *batch.to_entry().values(),
                    *charges.args(),
                    *batch.keys,
                    *(part for pair in counts.items() for part in pair),
                ],
            )
        except BaseException:
            self._outcomes.count(carried)
            raise
        if answer in (b"FULL", b"LIMITED"):
            self._outcomes.count(carried)
            if answer == b"FULL":
                raise StreamFull(
                    f"the stream is at its cap of {self._max_batches} batches"
                    f" or {self._max_bytes} bytes"
                )
            raise RateLimited(seconds_to_next_minute(now))
        return int(answer)

    def report(self, skipped: Mapping[str, float]) -> None:
        """Carry on what was counted, without a batch, and since when (Unix seconds) which journals
        are skipped. redis.RedisError: what was counted waits for the next call."""
        carried = self._outcomes.take()
        if not carried and not skipped:
            return
        try:
            with self._client.pipeline() as pipeline:
                day = keys.counts(0, time.time())
                for name, number in carried.items():
                    pipeline.hincrby(day, name, number)
                    pipeline.hincrby(keys.total(0), name, number)
                pipeline.expire(day, _COUNTS_LIFETIME, nx=True)
                for journal, since in skipped.items():
                    pipeline.set(keys.skipped(journal), since, ex=_SKIPPED_LIFETIME)
                pipeline.execute()
        except BaseException:
            self._outcomes.count(carried)
            raise

    def close(self) -> None:
        self._script.close()
        self._client.close()
