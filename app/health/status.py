"""How the system is, gathered from its servers: for /readyz, /metrics and `flask status`."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from redis import Redis, RedisError, ResponseError

from app.intake import keys
from app.intake.memory import memory_of
from app.intake.nodes import Nodes
from app.intake.outcomes import with_received
from app.intake.roles import NotPrimary
from app.intake.spool import Spool
from app.intake.trust import ask, risk_of
from config.causes import cause

_NOTHING: Mapping[str, float] = {}


@dataclass
class Waiting:
    batches: int = 0
    oldest_seconds: float | None = None


@dataclass
class Status:
    """`backlog` and `worker_seen_seconds` are None where Redis does not tell."""

    postgres: str = "up"  # or why not
    redis: str = "up"
    redis_is_persistent: bool | None = None
    redis_risk: str | None = None  # why it may lose what it holds
    redis_is_full: bool = False
    backlog: Waiting | None = None
    spool: Waiting = field(default_factory=Waiting)
    spool_has_room: bool = False
    worker_seen_seconds: float | None = None
    consumers: list[dict[str, Any]] = field(default_factory=list)
    newer_batches: int = 0  # of a newer release; they wait in the stream for its worker
    paused: dict[str, float] = field(default_factory=dict)  # journal to seconds since
    outcomes_of_day: dict[str, int] = field(default_factory=dict)  # today and yesterday, UTC
    outcomes: dict[str, int] = field(default_factory=dict)  # all-time

    @property
    def oldest_seconds(self) -> float | None:
        """For how long something has waited to be stored, in the stream or in this spool."""
        ages = [waiting.oldest_seconds for waiting in (self.backlog, self.spool) if waiting]
        return max((age for age in ages if age is not None), default=None)

    def can_take(self, mode: str) -> bool:
        """Whether some journal would take a batch; `mode` is the setting INTAKE."""
        by_stream = (self.redis == "up" and not self.redis_is_full) and (
            mode == "stream" or (mode == "auto" and not self.redis_risk)
        )
        return by_stream or self.postgres == "up" or self.spool_has_room

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def gather(
    nodes: Nodes,
    ask_postgres: Callable[[], None],
    spool: Spool,
    *,
    skipped: Mapping[str, float] = _NOTHING,
) -> Status:
    """Ask everyone, within the clients' time limits. `ask_postgres` raises where it is away;
    `skipped` is since when (Unix seconds) this process skips which journals."""
    status = Status()
    # Not by way of Redis alone: one that is full, or a replica, does not take a notice either.
    status.paused = {journal: round(time.time() - since, 1) for journal, since in skipped.items()}
    try:
        ask_postgres()
    except Exception as error:  # noqa: BLE001  # whatever it is, it is the answer
        status.postgres = cause(error)
    try:
        nodes.refresh()
        servers = nodes.all()
        told = [ask(server) for server in servers]
        status.redis_is_persistent = all(info.get("aof_enabled") for info in told)
        status.redis_risk = next(filter(None, map(risk_of, told)), None)
        status.redis_is_full = any(memory_of(server).is_full for server in servers)
        _gather_streams(status, nodes)
    except RedisError as error:
        status.redis = cause(error)
        status.backlog = None
        if isinstance(error, NotPrimary):
            status.redis_risk = str(error)
    try:
        spooled = spool.backlog()
        status.spool = Waiting(spooled.batches, _age(spooled.oldest_at))
        status.spool_has_room = spool.has_room()
    except Exception:  # noqa: BLE001  # damaged, or not readable
        status.spool_has_room = False
    return status


def _gather_streams(status: Status, nodes: Nodes) -> None:
    now = time.time()
    status.backlog = Waiting()
    day: Counter[str] = Counter()
    total: Counter[str] = Counter()
    consumers: dict[str, dict[str, Any]] = {}
    for partition in {0, *nodes.partitions()}:
        redis, stream = nodes.of(partition), keys.stream(partition)
        status.backlog.batches += int(redis.xlen(stream))
        first: Any = redis.xrange(stream, count=1)
        for entry, _ in first:
            age = _age(int(entry.split(b"-")[0]) / 1000)
            status.backlog.oldest_seconds = max(status.backlog.oldest_seconds or 0.0, age or 0.0)
        for consumer in _consumers(redis, stream):
            if keys.form_set_aside(consumer["name"]):
                status.newer_batches += consumer["pending"]
            else:
                _add(consumers, consumer)
        for at in (now, now - 24 * 60 * 60):
            day.update(_numbers(redis, keys.counts(partition, at)))
        total.update(_numbers(redis, keys.total(partition)))
    status.outcomes_of_day, status.outcomes = with_received(day), with_received(total)
    status.consumers = list(consumers.values())
    idle = [consumer["idle_seconds"] for consumer in status.consumers]
    status.worker_seen_seconds = min(idle, default=None)
    for journal in keys.JOURNALS:
        since: Any = nodes.of(0).get(keys.skipped(journal))
        if since:
            status.paused[journal] = round(now - float(since), 1)


def _add(known: dict[str, dict[str, Any]], consumer: dict[str, Any]) -> None:
    """A worker is a consumer of each stream."""
    one = known.setdefault(consumer["name"], {**consumer, "pending": 0})
    one["pending"] += consumer["pending"]
    one["idle_seconds"] = min(one["idle_seconds"], consumer["idle_seconds"])


def _consumers(redis: Redis, stream: str) -> list[dict[str, Any]]:
    try:
        found: Any = redis.xinfo_consumers(stream, keys.GROUP)
    except ResponseError:  # no worker was ever there
        return []
    return [
        {
            "name": consumer["name"].decode(),
            "pending": consumer["pending"],
            "idle_seconds": consumer["idle"] / 1000,
        }
        for consumer in found
    ]


def _numbers(redis: Redis, key: str) -> dict[str, int]:
    found: Any = redis.hgetall(key)
    return {name.decode(): int(number) for name, number in found.items()}


def _age(since: float | None) -> float | None:
    return None if since is None else round(max(0.0, time.time() - since), 1)
