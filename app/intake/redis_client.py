"""The two Redis clients: one for requests, which must not wait, and one for the worker."""

import logging
from collections.abc import Iterator
from typing import Any

from redis import ConnectionPool, Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.intake.places import Fixed, Places, places_of
from app.intake.roles import (
    EncryptedPrimaryConnection,
    NotPrimary,
    PrimaryConnection,
    is_of_cluster,
)
from app.intake.trust import ask
from config.causes import cause
from config.redis_url import read_redis_url
from config.settings import Settings

logger = logging.getLogger(__name__)

REQUEST_TIMEOUT = 0.25  # s, for a connection and for a reply
CONNECT_TIMEOUT = 1.0  # s at most, for a connection and for each reply before it is used
WORKER_TIMEOUT = 2.0  # s, must be longer than the worker's XREADGROUP blocks


def request_client(settings: Settings) -> Redis:
    return client_of(settings.redis_url, REQUEST_TIMEOUT, cert_reqs=settings.redis_ssl_cert_reqs)


def worker_client(settings: Settings) -> Redis:
    return for_worker(request_client(settings))


def for_worker(client: Redis) -> Redis:
    """One to the same server, with more time."""
    return anew(client, socket_timeout=WORKER_TIMEOUT, socket_connect_timeout=CONNECT_TIMEOUT)


def client_of(redis_url: str, timeout: float, *, cert_reqs: str = "required") -> Redis:
    """Of the server that takes writes; nothing connects before the first use. `timeout` in seconds,
    for each reply. `cert_reqs` is how a certificate is checked where the address does not say."""
    url = read_redis_url(redis_url)
    options = dict(url.options)
    most = options.pop("max_connections", None)
    if url.is_encrypted:
        options.setdefault("ssl_cert_reqs", cert_reqs)
        options.setdefault("ssl_check_hostname", options["ssl_cert_reqs"] == "required")
    places = places_of(url, options, timeout=min(timeout, CONNECT_TIMEOUT))
    # What replies look like and how long one waits is ours to say, whatever the address has. No
    # retries: the library would send a command again and again behind the caller's back, and the
    # next journal takes a batch that Redis cannot.
    options |= {
        "socket_timeout": timeout,
        "socket_connect_timeout": min(timeout, CONNECT_TIMEOUT),
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
        "decode_responses": False,
    }
    connection = EncryptedPrimaryConnection if url.is_encrypted else PrimaryConnection
    return Redis(connection_pool=ConnectionPool(connection, most, places=places, **options))


def anew(client: Redis, **changes: Any) -> Redis:
    """A client like this one, with connections of its own and other options of them."""
    pool = client.connection_pool
    options = {**pool.connection_kwargs, **changes}
    most = pool.max_connections
    return Redis(connection_pool=ConnectionPool(pool.connection_class, most, **options))


def roles(client: Redis) -> Iterator[tuple[str, str]]:
    """Of each server that the client may lead to, as host:port, what it is: of those of the
    address, those that Sentinel knows, those of the cluster. redis.RedisError where no Sentinel
    answers."""
    places: Places = client.connection_pool.connection_kwargs["places"]
    for host, port in places.known():
        with anew(client, places=Fixed([(host, port)])) as one:
            try:
                info = ask(one)
            except RedisError as error:
                is_known = isinstance(error, NotPrimary)
                role = str(error) if is_known else f"does not answer: {cause(error)}"
            else:
                role = "is a primary" if is_of_cluster(info) else "is the primary"
                if info.get("role", "master") != "master":
                    role = "is a replica"
            yield f"{host}:{port}", role


def warn_about_eviction(client: Redis) -> None:
    """A Redis that evicts may evict the stream itself, or the sets of seen ids."""
    policy = client.info("memory").get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        logger.warning(
            "this Redis evicts keys when its memory is full: set maxmemory-policy to noeviction",
            extra={"action": "redis_evicts", "policy": policy},
        )
