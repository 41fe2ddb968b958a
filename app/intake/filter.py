"""What Redis knows, asked before the store, for when the stream does not come first: which ids were
seen, and who is over a limit.

Best effort: without Redis nothing is filtered, limited or marked; the key in Postgres decides.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from redis import Redis, RedisError
from redis.client import Pipeline

from app.batch.batch import Batch
from app.intake import keys
from app.intake.breaker import CircuitBreaker
from app.intake.limits import KEY_LIFETIME, Limits, RateLimited, seconds_to_next_minute
from app.intake.outcomes import Outcomes

logger = logging.getLogger(__name__)

_CLAIM_LIFETIME = 3_000  # ms, longer than a request may take
_CLAIM_PATIENCE = 0.4  # s to wait for another request that stores the same event
_CLAIM_POLL = 0.02  # s


class Filter:
    def __init__(
        self,
        client: Redis,
        outcomes: Outcomes,
        *,
        breaker: CircuitBreaker,
        partitions: int,
        dedup_window: int,
        limits: Limits,
    ) -> None:
        """`breaker` is the one of the stream: the server is the same."""
        self._client = client
        self._outcomes = outcomes
        self._breaker = breaker
        self._partitions = partitions
        self._dedup_window = dedup_window
        self._limits = limits

    @contextmanager
    def unseen(self, batch: Batch) -> Iterator[list[bytes]]:
        """The batch's events without those whose ids were marked before. RateLimited.

        To ask, to store and to mark is not one step, so within the block their ids are claimed:
        who comes with one of them at the same moment waits for the mark. (The key in Postgres
        tells a repeat only where it has the same time.)
        """
        partition = keys.partition(batch.shop, self._partitions)
        now = time.time()
        ids = batch.keys
        claims = [keys.claim(partition, batch.shop, key) for key in ids]
        limits = self._limits.of(batch, partition, now)

        def ask(pipeline: Pipeline) -> None:
            for counter, _ in limits:
                pipeline.incrby(counter, batch.received_count)
                pipeline.expire(counter, KEY_LIFETIME)
            for claim in claims:  # before the question, or a mark in between would be missed
                pipeline.set(claim, 1, nx=True, px=_CLAIM_LIFETIME)

        answers = self._call(ask) if limits or ids else []
        sums, is_ours = answers[: 2 * len(limits) : 2], answers[2 * len(limits) :]
        own = [claim for claim, ok in zip(claims, is_ours, strict=False) if ok]
        try:
            if any(sum_ > limit for sum_, (_, limit) in zip(sums, limits, strict=False)):
                self._outcomes.count({"rate_limited": batch.received_count})
                raise RateLimited(seconds_to_next_minute(now))
            seen = self._seen(batch, ids)
            deadline = time.monotonic() + _CLAIM_PATIENCE
            busy = {key for key, ok in zip(ids, is_ours, strict=False) if not ok} - seen
            while busy and time.monotonic() < deadline:
                time.sleep(_CLAIM_POLL)
                found = self._seen(batch, list(busy))
                seen |= found
                busy -= found
            yield [line for key, line in zip(ids, batch.events, strict=True) if key not in seen]
        finally:
            if own:
                self._call(lambda pipeline: pipeline.delete(*own))

    def _seen(self, batch: Batch, ids: list[bytes]) -> set[bytes]:
        def ask(pipeline: Pipeline) -> None:
            for name in self._sets(batch):
                pipeline.smismember(name, ids)

        answers = self._call(ask) if ids else []
        return {key for key, *was_seen in zip(ids, *answers, strict=False) if any(was_seen)}

    def mark(self, batch: Batch) -> None:
        """Mark all of the batch's ids. Only for what is committed: a mark set before loses it."""
        current = self._sets(batch)[0]

        def mark(pipeline: Pipeline) -> None:
            pipeline.sadd(current, *batch.keys)
            pipeline.expire(current, keys.seen_lifetime(self._dedup_window), nx=True)

        if batch.events:
            self._call(mark)

    def _sets(self, batch: Batch) -> list[str]:
        partition = keys.partition(batch.shop, self._partitions)
        return keys.seen(partition, batch.shop, time.time(), self._dedup_window)

    def _call(self, fill: Callable[[Pipeline], object]) -> list[Any]:
        """The answers, none where Redis is away."""
        if not self._breaker.allow():
            return []
        try:
            with self._client.pipeline(transaction=False) as pipeline:
                fill(pipeline)
                answers = pipeline.execute()
        except RedisError as error:
            if self._breaker.record_failure():
                logger.warning(
                    "Redis is away: nothing is filtered or limited for a while",
                    extra={"action": "filter_paused", "cause": f"{type(error).__name__}: {error}"},
                )
            return []
        self._breaker.record_success()
        return answers
