"""Whether this installation can do what it should: each finding with what to do about it."""

import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
from psycopg import Connection
from redis import Redis, RedisError
from redis.exceptions import ClusterDownError

from app.health import bounds
from app.health.status import Status, gather
from app.intake import redis_client
from app.intake.nodes import Nodes, address_of
from app.intake.redis_client import worker_client
from app.intake.roles import NotPrimary
from app.intake.spool import Spool
from app.store import connections, migrate
from app.store.connections import REPORT_POOL_SIZE, REQUEST_POOL_SIZE, WORKER_CONNECTIONS, connect
from app.store.figures import connections_allowed, seconds_behind_primary
from config.causes import cause
from config.redis_url import read_redis_url
from config.settings import Settings

OK, WARN, FIX = "ok", "warn", "fix"

_LEAST_POSTGRES = 150_000
_LEAST_REDIS = (7, 0)
_MOST_CLOCK_SKEW = 5.0  # s
_MOST_REPLICA_LAG = 30.0  # s
_WORKER_SILENCE = 60.0  # s
_COMMAND_CONNECTIONS = 2  # a release, and one that an operator runs
_FAILED_REQUESTS = (
    "SELECT string_agg(id::text, ', ' ORDER BY id) FROM privacy_requests WHERE state = 'failed'"
)
_AWAY = "start it, or correct the address"


@dataclass(frozen=True)
class Finding:
    level: str
    subject: str
    text: str


def check(settings: Settings) -> Iterator[Finding]:
    """In the order in which to go through them. Nothing is changed."""
    yield from _settings(settings)
    with closing(Nodes(worker_client(settings))) as nodes:
        with suppress(RedisError):  # told below
            nodes.refresh()
        yield from _of_postgres(settings, len(nodes.all()))
        yield from _of_redis(nodes, settings)
    yield from _spool(settings)


def _of_postgres(settings: Settings, nodes: int) -> Iterator[Finding]:
    yield from _roles("postgres", connections.roles(settings.database_url))
    try:
        with connect(settings.database_url, "check") as connection:
            yield from _postgres(connection, settings, nodes)
    except psycopg.OperationalError as error:
        reason = cause(error)
        yield Finding(FIX, "postgres", f"does not answer at DATABASE_URL: {reason}: {_AWAY}")
    except psycopg.Error as error:
        reason = cause(error)
        yield Finding(FIX, "postgres", f"refuses: {reason}: give the role a schema of its own")
    if settings.reports_database_url:
        yield from _replica(settings.reports_database_url)


def _of_redis(nodes: Nodes, settings: Settings) -> Iterator[Finding]:
    try:
        nodes.refresh()
        yield from _roles("redis", redis_client.roles(nodes.first))
        for node in nodes.all():
            of_one = f"{address_of(node)[0]}:{address_of(node)[1]} "
            for found in _redis(node, settings):
                text = of_one + found.text if nodes.is_cluster else found.text
                yield replace(found, text=text)
        yield from _partitions(nodes, settings)
        status = _status(nodes, settings)
        yield from _worker(status)
        yield from _bounds(nodes, settings, status)
    except ClusterDownError:
        yield Finding(FIX, "redis", "its cluster is not whole: see CLUSTER INFO on its nodes")
    except NotPrimary as error:
        yield Finding(FIX, "redis", f"{error}: name the server that takes writes")
    except RedisError as error:
        reason = cause(error).rstrip(".")
        yield Finding(FIX, "redis", f"does not answer at REDIS_URL: {reason}: {_AWAY}")


def _roles(subject: str, servers: Iterable[tuple[str, str]]) -> Iterator[Finding]:
    """Of one server the other findings tell."""
    found = list(servers)
    if len(found) > 1:
        for name, role in found:
            is_away = role.startswith("does not answer")
            yield Finding(WARN if is_away else OK, subject, f"{name} {role}")


def _replica(url: str) -> Iterator[Finding]:
    try:
        with connect(url, "check", for_reading=True) as connection:
            behind = seconds_behind_primary(connection)
            is_standby = _value(connection, "SELECT pg_is_in_recovery()")
            feedback = _value(connection, "SELECT current_setting('hot_standby_feedback')")
    except psycopg.Error as error:
        text = f"REPORTS_DATABASE_URL does not answer, the primary is read: {cause(error)}"
        yield Finding(WARN, "replica", text)
        return
    if not is_standby:
        yield Finding(WARN, "replica", "REPORTS_DATABASE_URL is a primary, not a replica")
    elif behind > _MOST_REPLICA_LAG:
        yield Finding(WARN, "replica", f"is {behind:.0f} s behind: see its log and the network")
    else:
        yield Finding(OK, "replica", f"is {behind:.0f} s behind the primary")
    if is_standby and feedback == "off":
        text = "hot_standby_feedback is off: long reports are ended and read from the primary"
        yield Finding(WARN, "replica", text)


def _settings(settings: Settings) -> Iterator[Finding]:
    yield Finding(OK, "settings", f"complete, {len(settings.shopify_api_secrets)} client secret(s)")
    if any(len(secret) < 16 for secret in settings.shopify_api_secrets):
        yield Finding(WARN, "settings", "a client secret is shorter than Shopify's: copy it again")
    if not settings.shopify_api_key:
        yield Finding(WARN, "settings", "no SHOPIFY_API_KEY: the merchants' page rejects everyone")
    redis_url = read_redis_url(settings.redis_url)
    checked = redis_url.options.get("ssl_cert_reqs", settings.redis_ssl_cert_reqs)
    if redis_url.is_encrypted and checked == "none":
        yield Finding(WARN, "settings", "ssl_cert_reqs is none: Redis's certificate is not checked")
    if settings.hash_emails and len(settings.email_hash_key) < 16:
        yield Finding(WARN, "settings", "EMAIL_HASH_KEY is short: take 32 random characters")


def _postgres(connection: Connection, settings: Settings, nodes: int) -> Iterator[Finding]:
    version = connection.info.server_version
    text = f"version {version // 10_000}.{version % 10_000}"
    is_old = version < _LEAST_POSTGRES
    yield Finding(
        FIX if is_old else OK, "postgres", text + (": take 15 or later" if is_old else "")
    )
    missing = [one.name for one in migrate.status(connection) if not one.applied_at]
    if missing:
        yield Finding(FIX, "postgres", f"lacks {', '.join(missing)}: run `flask db upgrade`")
    elif failed := _value(connection, _FAILED_REQUESTS):
        text = (
            f"requests {failed} have failed: see `flask privacy list`, then `flask privacy retry`"
        )
        yield Finding(FIX, "privacy", text)
    if newer := migrate.newer(connection):
        text = f"a newer release has applied {', '.join(newer)}: update this one"
        yield Finding(WARN, "postgres", text)
    for name in ("fsync", "synchronous_commit", "full_page_writes"):
        if _value(connection, "SELECT current_setting(%s)", name) == "off":
            yield Finding(FIX, "postgres", f"{name} is off, a crash may lose events: set it on")
    skew = abs(
        time.time() - float(_value(connection, "SELECT extract(epoch FROM clock_timestamp())"))
    )
    if skew > _MOST_CLOCK_SKEW:
        yield Finding(FIX, "clock", f"differs from Postgres's by {skew:.0f} s: use NTP on both")
    if not _value(connection, "SELECT has_schema_privilege(current_schema(), 'CREATE')"):
        yield Finding(
            FIX, "postgres", "this role may not make partitions: GRANT CREATE ON SCHEMA to it"
        )
    if _value(connection, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"):
        yield Finding(WARN, "postgres", "this role is a superuser: its own schema is all it needs")
    yield from _connections(connection, settings, nodes)


def _connections(connection: Connection, settings: Settings, nodes: int) -> Iterator[Finding]:
    allowed = connections_allowed(connection)
    web = settings.web_concurrency * (REQUEST_POOL_SIZE + REPORT_POOL_SIZE)
    worker = WORKER_CONNECTIONS + nodes - 1
    needed = web + worker + _COMMAND_CONNECTIONS
    text = (
        f"{allowed} connections are allowed; one web machine needs {web}, a worker"
        f" {worker}, commands {_COMMAND_CONNECTIONS}"
    )
    if needed > allowed:
        yield Finding(FIX, "postgres", f"{text}: lower WEB_CONCURRENCY or take a larger plan")
    else:
        yield Finding(OK, "postgres", text)


def _redis(redis: Redis, settings: Settings) -> Iterator[Finding]:
    info: Any = redis.info()
    version = str(info.get("redis_version", "0"))
    is_old = tuple(int(part) for part in version.split(".")[:2]) < _LEAST_REDIS
    text = f"{info.get('server_name', 'redis')} {info.get('valkey_version', version)}"
    yield Finding(FIX if is_old else OK, "redis", text + (": take 7.0 or later" if is_old else ""))
    policy = info.get("maxmemory_policy", "unknown")
    if policy != "noeviction":
        text = f"may evict what it holds: set maxmemory-policy noeviction, not {policy}"
        if settings.intake == "auto":
            text += "; until then Postgres takes each batch in the request"
        yield Finding(FIX, "redis", text)
    if not info.get("aof_enabled"):
        if settings.intake == "stream":
            yield Finding(
                FIX,
                "redis",
                "keeps no append-only file, and INTAKE=stream trusts it with events:"
                " set appendonly yes, or INTAKE=auto",
            )
        else:
            yield Finding(
                WARN,
                "redis",
                "keeps no append-only file: Postgres takes each batch in the request,"
                " which costs it more; set appendonly yes",
            )
    limit, used = int(info.get("maxmemory", 0)), int(info.get("used_memory", 0))
    if limit and used > 0.8 * limit:
        yield Finding(WARN, "redis", f"{used * 100 // limit} % of its memory is in use: take more")
    seconds, micros = redis.time()
    skew = abs(time.time() - seconds - micros / 1e6)
    if skew > _MOST_CLOCK_SKEW:
        yield Finding(FIX, "clock", f"differs from Redis's by {skew:.0f} s: use NTP on both")


def _partitions(nodes: Nodes, settings: Settings) -> Iterator[Finding]:
    idle = len(nodes.all()) - len(nodes.by_node(range(settings.stream_partitions)))
    if idle:
        text = f"{idle} of its primaries have no partition: raise STREAM_PARTITIONS"
        yield Finding(WARN, "redis", text)


def _status(nodes: Nodes, settings: Settings) -> Status:
    spool = Spool(Path(settings.spool_dir), max_bytes=settings.spool_max_bytes)
    seen = gather(nodes, lambda: None, spool)
    spool.close()
    return seen


def _bounds(nodes: Nodes, settings: Settings, status: Status) -> Iterator[Finding]:
    """The nearest first. Where Postgres is away, that is told already."""
    with suppress(psycopg.Error), connect(settings.database_url, "check") as connection:
        found = sorted(
            bounds.bounds(connection, nodes, settings, status), key=lambda one: -one.share
        )
        text = ", ".join(f"{one.name} {one.share:.0%} ({one.text})" for one in found)
        level = WARN if found[0].share >= bounds.NEAR else OK
        yield Finding(level, "bounds", f"the nearest is {text}")
        if grows := bounds.growth(connection, settings, status):
            yield Finding(OK, "disk", bounds.describe(grows))


def _worker(seen: Status) -> Iterator[Finding]:
    silence, backlog = seen.worker_seen_seconds, seen.backlog
    if silence is None:
        yield Finding(FIX, "worker", "none is running: start `flask worker`")
    elif silence > _WORKER_SILENCE:
        yield Finding(FIX, "worker", f"not seen for {silence:.0f} s: start `flask worker`")
    else:
        waiting = backlog.batches if backlog else 0
        yield Finding(OK, "worker", f"seen {silence:.0f} s ago, {waiting} batches pending")
    if seen.newer_batches:
        text = f"{seen.newer_batches} batches of a newer release wait: run a worker of that one"
        yield Finding(FIX, "worker", text)


def _spool(settings: Settings) -> Iterator[Finding]:
    folder = Path(settings.spool_dir)
    existing = next(
        path for path in (folder.absolute(), *folder.absolute().parents) if path.exists()
    )
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        reason = f"SPOOL_DIR {folder} is not writable: {error.strerror}"
        yield Finding(FIX, "spool", f"{reason}: choose a folder that is")
        return
    free = os.statvfs(existing)
    if free.f_bavail * free.f_frsize < settings.spool_max_bytes:
        yield Finding(WARN, "spool", "its disk has less room than SPOOL_MAX_BYTES")
    else:
        yield Finding(OK, "spool", f"{folder} is writable")


def _value(connection: Connection, statement: Any, *values: object) -> Any:
    row = connection.execute(statement, values).fetchone()
    return row[0] if row else None
