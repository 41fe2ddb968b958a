"""The two Redis clients: one for requests, which must not wait, and one for the worker."""

import logging

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from config.settings import Settings

logger = logging.getLogger(__name__)

REQUEST_TIMEOUT = 0.25  # s, for a connection and for a reply
WORKER_TIMEOUT = 5.0  # s, must be longer than the worker's XREADGROUP blocks


def request_client(settings: Settings) -> Redis:
    return _client(settings, REQUEST_TIMEOUT)


def worker_client(settings: Settings) -> Redis:
    return _client(settings, WORKER_TIMEOUT)


def warn_about_eviction(client: Redis) -> None:
    """A Redis that evicts may evict the stream itself, or the sets of seen ids."""
    policy = client.info("memory").get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        logger.warning(
            "this Redis evicts keys when its memory is full: set maxmemory-policy to noeviction",
            extra={"action": "redis_evicts", "policy": policy},
        )


def _client(settings: Settings, timeout: float) -> Redis:
    # No retries: the library would send a command again and again behind the caller's back, and the
    # next journal takes a batch that Redis cannot.
    options: dict[str, object] = {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
    }
    if settings.redis_url.startswith("rediss:"):
        options["ssl_cert_reqs"] = settings.redis_ssl_cert_reqs
        options["ssl_check_hostname"] = settings.redis_ssl_cert_reqs == "required"
    return Redis.from_url(settings.redis_url, **options)
