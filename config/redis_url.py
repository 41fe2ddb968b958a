"""REDIS_URL, as redis-py reads it: where Redis is, and how to connect.

One server, or several of which one is the primary, or nodes of a cluster, or Sentinels:

    redis://user:password@host:6379/0?client_name=genlook
    redis://one:6379,two:6379/0              the same as redis://one:6379/0,redis://two:6379/0
    redis+sentinel://one:26379,two:26379/mymaster/0?sentinel_password=secret

`rediss://` and `rediss+sentinel://` are encrypted, to the Sentinels too.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from redis import RedisError
from redis.connection import Connection, SSLConnection, parse_url

Address = tuple[str, int]

SCHEMES = ("redis", "rediss", "redis+sentinel", "rediss+sentinel")

_SENTINEL = "+sentinel"
_SENTINEL_PORT, _PORT = 26379, 6379
_NEXT_URL = re.compile(r",(?=rediss?(?:\+sentinel)?://)")
_URL = re.compile(r"(rediss?(?:\+sentinel)?)://([^/?#]*)([^?#]*)(\?[^#]*)?")
_UNKNOWN_TO_US = ("ssl_validate_ocsp", "ssl_validate_ocsp_stapled")


@dataclass(frozen=True)
class RedisUrl:
    addresses: tuple[Address, ...]  # of the Sentinels, where there is a service
    options: Mapping[str, Any] = field(repr=False)  # of a connection in redis-py
    is_encrypted: bool = False
    service: str = ""  # that Sentinel knows the primary by
    sentinel_login: Mapping[str, str] = field(default_factory=dict, repr=False)


def read_redis_url(text: str) -> RedisUrl:
    """ValueError: redis-py could not connect with it."""
    found = [_read_one(url) for url in _NEXT_URL.split(text)]
    first = found[0]
    for other in found[1:]:
        same = (other.options, other.is_encrypted, other.service, other.sentinel_login)
        if same != (first.options, first.is_encrypted, first.service, first.sentinel_login):
            raise ValueError("all addresses must have the same user, database and options")
    addresses = tuple(address for one in found for address in one.addresses)
    return RedisUrl(
        addresses, first.options, first.is_encrypted, first.service, first.sentinel_login
    )


def _read_one(url: str) -> RedisUrl:
    match = _URL.fullmatch(url)
    if not match:
        raise ValueError("not the address of a Redis")
    scheme, place, path, query = match.groups(default="")
    user, at, hosts = place.rpartition("@")
    service, default_port = "", _PORT
    if scheme.endswith(_SENTINEL):
        default_port = _SENTINEL_PORT
        scheme = scheme.removesuffix(_SENTINEL)
        service, slash, path = path.removeprefix("/").partition("/")
        path = slash + path
        if not service or service.isdigit():
            raise ValueError("the name of Sentinel's service stands before the database")
    if not re.fullmatch("(/[0-9]*)?", path):
        raise ValueError("a Redis database is a number")
    addresses, options = [], {}
    for host in hosts.split(","):
        options = parse_url(f"{scheme}://{user}{at}{host}{path}{query}")  # type: ignore[no-untyped-call]
        if re.search(":0*$", host) or ("," in hosts and not options.get("host")):
            raise ValueError("an address has no host, or a port that is 0")
        name, port = options.pop("host", "localhost"), options.pop("port", default_port)
        addresses.append((name, port))
    is_encrypted = options.pop("connection_class", Connection) is SSLConnection
    login = {
        name.removeprefix("sentinel_"): options.pop(name)
        for name in ("sentinel_username", "sentinel_password")
        if service and name in options
    }
    _try(options, is_encrypted=is_encrypted)
    return RedisUrl(tuple(addresses), options, is_encrypted, service, login)


def _try(options: Mapping[str, Any], *, is_encrypted: bool) -> None:
    """ValueError where redis-py does not know an option, or its value. Nothing connects."""
    if any(name in options for name in _UNKNOWN_TO_US):
        raise ValueError("OCSP is not supported")
    try:
        of_connections = {k: v for k, v in options.items() if k != "max_connections"}
        (SSLConnection if is_encrypted else Connection)(**of_connections)
    except (TypeError, RedisError) as error:
        raise ValueError("an option that redis-py does not know") from error
