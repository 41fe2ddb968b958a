"""The servers that the partitions are on: one, or the primaries of a Redis or Valkey Cluster.

Which of the two it is, is asked. A cluster's map of slots is asked for by `refresh`, which threads
call that nobody waits for; in between a node that is asked for a slot it no longer has says where
that is. Where nothing is known, the servers of REDIS_URL are asked.
"""

import threading
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, TypeVar

from redis import Redis
from redis.crc import key_slot
from redis.exceptions import AskError, ClusterDownError, MovedError
from redis.utils import str_if_bytes

from app.intake import keys
from app.intake.places import Fixed, Places
from app.intake.redis_client import REQUEST_TIMEOUT, anew
from app.intake.trust import ask
from config.redis_url import Address

_SLOTS = 16_384
_STREAMS_AT_ONCE = 64  # that are asked for with one command
T = TypeVar("T")


class Nodes:
    def __init__(self, first: Redis) -> None:
        """`first` is a client by REDIS_URL; those of a cluster's nodes are made like it. Nothing
        connects before its first use."""
        self.first = first
        self._asking = anew(
            first, socket_timeout=REQUEST_TIMEOUT, socket_connect_timeout=REQUEST_TIMEOUT
        )
        self._clients: dict[Address, Redis] = {}
        self._making = threading.Lock()
        self._owners: list[Address | None] = [None] * _SLOTS
        self.is_cluster: bool | None = None  # None: nobody has said

    def of(self, partition: int) -> Redis:
        owner = self._owners[_slot(partition)]
        return self._client_at(owner) if owner else self.first

    def all(self) -> list[Redis]:
        """Every server that takes writes."""
        owners = dict.fromkeys(owner for owner in self._owners if owner)
        return [self._client_at(owner) for owner in owners] or [self.first]

    def by_node(self, partitions: Iterable[int]) -> dict[Redis, list[int]]:
        grouped: dict[Redis, list[int]] = {}
        for partition in partitions:
            grouped.setdefault(self.of(partition), []).append(partition)
        return grouped

    def partitions(self) -> list[int]:
        """Those that have a stream, whatever STREAM_PARTITIONS is now. redis.RedisError."""
        found: list[int] = []
        for client, numbers in self.by_node(range(keys.MOST_PARTITIONS)).items():
            # A cluster's node takes the keys of one slot at a time.
            at_once = _STREAMS_AT_ONCE if self.is_cluster is False else 1
            groups = [numbers[at : at + at_once] for at in range(0, len(numbers), at_once)]
            some = _groups_with_any(client, groups)
            if at_once > 1:
                some = _groups_with_any(client, [[number] for group in some for number in group])
            found += [number for group in some for number in group]
        return sorted(found)

    def call(self, partition: int, command: Callable[[Redis], T]) -> T:
        """What it returns of the partition's node, also where the slot has moved. redis.RedisError:
        it may have been carried out."""
        client = self.of(partition)
        try:
            return command(client)
        except MovedError as error:
            return command(self.follow(client, error))

    def follow(self, client: Redis, error: AskError) -> Redis:
        """Whom to ask instead of `client`, which answered with MOVED or ASK."""
        address = (error.host or address_of(client)[0], error.port)
        if isinstance(error, MovedError):
            self._owners[error.slot_id] = address
            self.is_cluster = True
        return self._client_at(address)

    def refresh(self) -> None:
        """Ask which nodes there are. redis.RedisError: what was known holds."""
        if self.is_cluster is None:
            self.is_cluster = str(ask(self._asking).get("cluster_enabled", "0")) == "1"
        if not self.is_cluster:
            return
        with self._asking.pipeline(transaction=False) as pipeline:
            pipeline.execute_command("CLUSTER INFO")  # type: ignore[no-untyped-call]
            pipeline.execute_command("CLUSTER SLOTS")  # type: ignore[no-untyped-call]
            state, ranges = pipeline.execute()
        asked = address_of(self._asking)
        owners: list[Address | None] = [None] * _SLOTS
        places: Places = self._asking.connection_pool.connection_kwargs["places"]
        for start, end, primary, *replicas in ranges:
            owners[start : end + 1] = [_address(primary, asked)] * (end + 1 - start)
            places.know(_address(one, asked) for one in (primary, *replicas))
        if state["cluster_state"] != "ok":
            places.leave(asked)  # where it alone is cut off, another one knows better
            raise ClusterDownError("CLUSTERDOWN")
        self._owners = owners

    def close(self) -> None:
        for client in (self.first, self._asking, *self._clients.values()):
            client.close()

    def _client_at(self, address: Address) -> Redis:
        client = self._clients.get(address)
        if client is None:
            with self._making:
                client = self._clients.get(address) or anew(self.first, places=Fixed([address]))
                self._clients[address] = client
        return client


def address_of(client: Redis) -> Address:
    """Where it is, or is looked for first."""
    places: Places = client.connection_pool.connection_kwargs["places"]
    return next(iter(places.candidates()))


def _groups_with_any(client: Redis, groups: list[list[int]]) -> list[list[int]]:
    """Those of which at least one partition has a stream."""
    with client.pipeline(transaction=False) as pipeline:
        for group in groups:
            pipeline.exists(*map(keys.stream, group))
        there = pipeline.execute()
    return [group for group, number in zip(groups, there, strict=True) if number]


def _address(node: list[Any], asked: Address) -> Address:
    """A node that knows no name of its own has the one that it was asked by."""
    host = str_if_bytes(node[0] or b"")
    return (asked[0] if host in ("", "?") else host, int(node[1]))


@lru_cache(maxsize=keys.MOST_PARTITIONS)
def _slot(partition: int) -> int:
    return key_slot(keys.stream(partition).encode())
