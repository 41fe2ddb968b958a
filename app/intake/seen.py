"""The filter of seen ids before the store, for when the stream does not come first.

Best effort: without Redis nothing is filtered and nothing marked, the key in Postgres decides.
"""

import logging
import time

from redis import Redis, RedisError

from app.intake import keys
from app.intake.batch import Batch

logger = logging.getLogger(__name__)


class SeenFilter:
    def __init__(self, client: Redis, *, partitions: int, dedup_window: int) -> None:
        self._client = client
        self._partitions = partitions
        self._dedup_window = dedup_window

    def unseen(self, batch: Batch) -> dict[bytes, bytes]:
        """The batch's events without those whose ids were marked before."""
        if not batch.events:
            return {}
        ids = list(batch.events)
        try:
            with self._client.pipeline(transaction=False) as pipeline:
                for key in self._keys(batch):
                    pipeline.smismember(key, ids)
                answers = pipeline.execute()
        except RedisError as error:
            logger.debug("seen ids not asked", extra={"action": "seen", "cause": repr(error)})
            return batch.events
        seen = {key for key, *flags in zip(ids, *answers, strict=True) if any(flags)}
        return {key: line for key, line in batch.events.items() if key not in seen}

    def mark(self, batch: Batch) -> None:
        """Mark all of the batch's ids. Only for what is committed: a mark set before loses it."""
        if not batch.events:
            return
        current = self._keys(batch)[0]
        try:
            with self._client.pipeline(transaction=False) as pipeline:
                pipeline.sadd(current, *batch.events)
                pipeline.expire(current, keys.seen_lifetime(self._dedup_window), nx=True)
                pipeline.execute()
        except RedisError as error:
            logger.debug("ids not marked", extra={"action": "seen", "cause": repr(error)})

    def _keys(self, batch: Batch) -> list[str]:
        partition = keys.partition(batch.shop, self._partitions)
        return keys.seen(partition, batch.shop, time.time(), self._dedup_window)
