"""Where the Redis that takes writes may be: one of some addresses, or where Sentinel says.

All connections of a client share a `Places`: what one has found, the others follow.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

from config.redis_url import Address, RedisUrl


class Places(Protocol):
    is_blocking: bool  # whether `candidates` asks a server

    def candidates(self) -> Iterable[Address]:
        """The likeliest first. redis.RedisError."""

    def found(self, address: Address) -> None:
        """The primary is there."""

    def leave(self, address: Address) -> None:
        """It is no primary, or does not answer: others come first from now on."""

    def is_current(self, address: Address) -> bool:
        """Whether nobody has found the primary elsewhere."""


class Fixed:
    is_blocking = False

    def __init__(self, addresses: Iterable[Address]) -> None:
        self._addresses = tuple(addresses)

    def candidates(self) -> tuple[Address, ...]:
        return self._addresses

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
        self._found: Address | None = None

    def candidates(self) -> tuple[Address]:
        return (self._sentinel.discover_master(self._service),)  # type: ignore[no-untyped-call]

    def found(self, address: Address) -> None:
        self._found = address

    def leave(self, address: Address) -> None:
        if address == self._found:
            self._found = None

    def is_current(self, address: Address) -> bool:
        return self._found in (None, address)


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
