"""The filter of seen ids before the store, for when the stream does not come first.

Best effort: without Redis nothing is filtered and nothing marked, the key in Postgres decides.
"""

import logging
import time
from collections.abc import Callable
from typing import Any

from redis import Redis, RedisError
from redis.client import Pipeline

from app.intake import keys
from app.intake.batch import Batch
from app.intake.pause import Pause

logger = logging.getLogger(__name__)


class SeenFilter:
    def __init__(self, client: Redis, *, pause: Pause, partitions: int, dedup_window: int) -> None:
        """`pause` is the one of the stream: the server is the same."""
        self._client = client
        self._pause = pause
        self._partitions = partitions
        self._dedup_window = dedup_window

    def unseen(self, batch: Batch) -> dict[bytes, bytes]:
        """The batch's events without those whose ids were marked before."""
        ids = list(batch.events)

        def ask(pipeline: Pipeline) -> None:
            for key in self._keys(batch):
                pipeline.smismember(key, ids)

        answers = self._call(ask) if ids else []
        seen = {key for key, *flags in zip(ids, *answers, strict=False) if any(flags)}
        return {key: line for key, line in batch.events.items() if key not in seen}

    def mark(self, batch: Batch) -> None:
        """Mark all of the batch's ids. Only for what is committed: a mark set before loses it."""
        current = self._keys(batch)[0]

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
                    "ids that were seen are not filtered for a while",
                    extra={"action": "filter_paused", "cause": f"{type(error).__name__}: {error}"},
                )
            return []
        self._pause.succeeded()
        return answers

    def _keys(self, batch: Batch) -> list[str]:
        partition = keys.partition(batch.shop, self._partitions)
        return keys.seen(partition, batch.shop, time.time(), self._dedup_window)
