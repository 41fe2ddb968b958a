"""The first journal on each of its servers: one, or those of a cluster's nodes that have a
partition."""

import time
from collections.abc import Callable, Collection, Mapping

from redis import Redis, RedisError
from redis.exceptions import AskError

from app.intake import keys
from app.intake.memory import Keeper
from app.intake.nodes import Nodes
from app.intake.outcomes import Outcomes
from app.intake.stream import COUNTS_LIFETIME, SKIPPED_LIFETIME, Stream

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


class Streams:
    def __init__(
        self,
        nodes: Nodes,
        make: Callable[[Redis], Stream],
        outcomes: Outcomes,
        *,
        partitions: int = 1,
    ) -> None:
        """`make` makes the journal of a server, once for each."""
        self.nodes = nodes
        self._outcomes = outcomes
        self._make = make
        self._partitions = partitions
        self._made: dict[Redis, Stream] = {}
        self._keepers: dict[Redis, Keeper] = {}

    def partition(self, shop: str) -> int:
        return keys.partition(shop, self._partitions)

    def of(self, shop: str) -> Stream:
        node = self.nodes.of(keys.partition(shop, self._partitions))
        return self._made.get(node) or self._of(node)

    def all(self) -> Collection[Stream]:
        return [self._of(node) for node in self.nodes.by_node(range(self._partitions))]

    def follow(self, stream: Stream, error: AskError) -> Stream:
        """Whom to ask instead, after MOVED or ASK."""
        return self._of(self.nodes.follow(stream.client, error))

    def keep(self) -> None:
        """Fit what each server holds to its memory; to be called often."""
        for node, partitions in self.nodes.by_node(range(self._partitions)).items():
            stream = self._of(node)
            if node not in self._keepers:
                self._keepers[node] = Keeper(node, stream.bounds, self._outcomes)
            self._keepers[node].keep(partitions)

    def ask_again(self) -> None:
        """Whether the servers may hold batches. redis.RedisError: one of them does not say."""
        failure: RedisError | None = None
        for stream in self.all():
            try:
                stream.ask_again()
            except RedisError as error:
                failure = error
        if failure:
            raise failure

    def report(self, skipped: Mapping[str, float]) -> None:
        """Carry on what was counted, without a batch, and since when (Unix seconds) which journals
        are skipped. redis.RedisError: what was counted waits for the next call."""
        carried = self._outcomes.take()
        if not carried and not skipped:
            return
        names = [keys.counts(0, time.time()), keys.total(0), *map(keys.skipped, skipped)]
        counted = [part for pair in carried.items() for part in pair]
        args = [COUNTS_LIFETIME, SKIPPED_LIFETIME, *skipped.values(), *counted]
        try:
            self.nodes.call(0, lambda node: node.eval(_REPORT, len(names), *names, *args))
        except BaseException:
            self._outcomes.count(carried)
            raise

    def close(self) -> None:
        """On the loop's thread, where there is a loop."""
        for stream in self._made.values():
            stream.close()
        self.nodes.close()

    def _of(self, node: Redis) -> Stream:
        return self._made.get(node) or self._made.setdefault(node, self._make(node))
