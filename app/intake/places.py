"""Where the Redis that takes writes may be: one of some addresses, or where Sentinel says.

All connections of a client share a `Places`: what one has found, the others follow.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from redis import ConnectionError, RedisError  # noqa: A004
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel
from redis.utils import str_if_bytes

from config.redis_url import Address, RedisUrl


class Places(Protocol):
    is_blocking: bool  # whether `candidates` and `is_current` ask a server

    def candidates(self) -> Iterable[Address]:
        """The likeliest first. redis.RedisError."""

    def known(self) -> Iterable[Address]:
        """All servers, the primary and its replicas. redis.RedisError."""

    def know(self, addresses: Iterable[Address]) -> None:
        """These may be asked too, after those that are known."""

    def found(self, address: Address) -> None:
        """The primary is there."""

    def leave(self, address: Address) -> None:
        """It is no primary, or does not answer: others come first from now on."""

    def is_current(self, address: Address) -> bool:
        """Whether nobody knows that the primary is elsewhere."""


class Fixed:
    is_blocking = False

    def __init__(self, addresses: Iterable[Address]) -> None:
        self._addresses = tuple(addresses)

    def candidates(self) -> tuple[Address, ...]:
        return self._addresses

    def known(self) -> tuple[Address, ...]:
        return tuple(sorted(self._addresses))

    def know(self, addresses: Iterable[Address]) -> None:
        self._addresses = tuple(dict.fromkeys((*self._addresses, *addresses)))

    def found(self, address: Address) -> None:
        if address != self._addresses[0]:
            self._addresses = (address, *(one for one in self._addresses if one != address))

    def leave(self, address: Address) -> None:
        first, *others = self._addresses
        if address == first:  # else it was left before, and another one is tried
            self._addresses = (*others, first)

    def is_current(self, address: Address) -> bool:
        return address == self._addresses[0]


class BySentinel:
    is_blocking = True

    def __init__(self, sentinel: Sentinel, service: str) -> None:
        self._sentinel = sentinel
        self._service = service

    def candidates(self) -> tuple[Address]:
        """What the first Sentinel that answers says: while a failover is under way already the new
        primary, which the Sentinel class of redis-py would name seconds later."""
        failure: RedisError = ConnectionError("no Sentinel knows the service")
        for sentinel in self._sentinel.sentinels:
            try:
                found: Any = sentinel.sentinel_get_master_addr_by_name(self._service)
            except RedisError as error:
                failure = error
            else:
                if found:
                    host, port = found
                    return ((str_if_bytes(host), int(port)),)
        raise failure

    def known(self) -> tuple[Address, ...]:
        replicas = self._sentinel.discover_slaves(self._service)  # type: ignore[no-untyped-call]
        return (*self.candidates(), *replicas)

    def know(self, addresses: Iterable[Address]) -> None:
        pass  # Sentinel knows better

    def found(self, address: Address) -> None:
        pass

    def leave(self, address: Address) -> None:
        pass

    def is_current(self, address: Address) -> bool:
        """The old primary takes writes until Sentinel demotes it, seconds later, and forgets them
        then."""
        try:
            return self.candidates() == (address,)
        except RedisError:
            return True  # it knows of no other one


def places_of(url: RedisUrl, options: Mapping[str, Any], *, timeout: float) -> Places:
    """`options` are those of connections to Redis; `timeout` in seconds, for each Sentinel."""
    if not url.service:
        return Fixed(url.addresses)
    encryption = {name: value for name, value in options.items() if name.startswith("ssl_")}
    own: dict[str, Any] = {
        **encryption,
        **url.sentinel_login,
        "ssl": url.is_encrypted,
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
    }
    sentinel = Sentinel(url.addresses, sentinel_kwargs=own)  # type: ignore[no-untyped-call]
    return BySentinel(sentinel, url.service)
