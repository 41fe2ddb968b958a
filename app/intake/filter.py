"""What Redis knows, asked before the store, for when the stream does not come first: which ids were
seen, and who is over a limit.

Best effort: without Redis nothing is filtered, limited or marked; the key in Postgres decides.
"""

import logging
import time
from collections.abc import Callable
from typing import Any

from redis import Redis, RedisError
from redis.client import Pipeline

from app.intake import keys
from app.intake.batch import Batch
from app.intake.limits import KEY_LIFETIME, Limits, RateLimited, seconds_to_next_minute
from app.intake.outcomes import Outcomes
from app.intake.pause import Pause

logger = logging.getLogger(__name__)


class Filter:
    def __init__(
        self,
        client: Redis,
        outcomes: Outcomes,
        *,
        pause: Pause,
        partitions: int,
        dedup_window: int,
        limits: Limits,
    ) -> None:
        """`pause` is the one of the stream: the server is the same."""
        self._client = client
        self._outcomes = outcomes
        self._pause = pause
        self._partitions = partitions
        self._dedup_window = dedup_window
        self._limits = limits

    def unseen(self, batch: Batch) -> dict[bytes, bytes]:
        """The batch's events without those whose ids were marked before. RateLimited."""
        partition = keys.partition(batch.shop, self._partitions)
        now = time.time()
        ids = list(batch.events)
        limits = self._limits.of(batch, partition, now)
        sets = keys.seen(partition, batch.shop, now, self._dedup_window) if ids else []

        def ask(pipeline: Pipeline) -> None:
            for counter, _ in limits:
                pipeline.incrby(counter, batch.received_count)
                pipeline.expire(counter, KEY_LIFETIME)
            for name in sets:
                pipeline.smismember(name, ids)

        if not limits and not sets:
            return batch.events
        answers = self._call(ask)
        if not answers:
            return batch.events
        sums, flags = answers[: 2 * len(limits) : 2], answers[2 * len(limits) :]
        if any(sum_ > limit for sum_, (_, limit) in zip(sums, limits, strict=True)):
            count = batch.received_count
            self._outcomes.count({"received": count, "rate_limited": count})
            raise RateLimited(seconds_to_next_minute(now))
        seen = {key for key, *was_seen in zip(ids, *flags, strict=False) if any(was_seen)}
        return {key: line for key, line in batch.events.items() if key not in seen}

    def mark(self, batch: Batch) -> None:
        """Mark all of the batch's ids. Only for what is committed: a mark set before loses it."""
        partition = keys.partition(batch.shop, self._partitions)
        current = keys.seen(partition, batch.shop, time.time(), self._dedup_window)[0]

        def mark(pipeline: Pipeline) -> None:
            pipeline.sadd(current, *batch.events)
            pipeline.expire(current, keys.seen_lifetime(self._dedup_window), nx=True)

        if batch.events:
            self._call(mark)

    def _call(self, fill: Callable[[Pipeline], None]) -> list[Any]:
        """The answers, none where Redis is away."""
        if not self._pause.allows():
            return []
        try:
            with self._client.pipeline(transaction=False) as pipeline:
                fill(pipeline)
                answers = pipeline.execute()
        except RedisError as error:
            if self._pause.failed():
                logger.warning(
                    "Redis is away: nothing is filtered or limited for a while",
                    extra={"action": "filter_paused", "cause": f"{type(error).__name__}: {error}"},
                )
            return []
        self._pause.succeeded()
        return answers
