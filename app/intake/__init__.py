"""Taking over a validated batch for good: the journals, and the order they are asked in."""

from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from redis import Redis, RedisError

from app.batch.batch import Batch
from app.intake.breaker import CircuitBreaker
from app.intake.drainer import Drainer
from app.intake.filter import Filter
from app.intake.intake import Intake
from app.intake.limits import Allowance, Limits
from app.intake.memory import Bounds
from app.intake.nodes import Nodes
from app.intake.outcomes import Outcomes
from app.intake.postgres import Postgres
from app.intake.redis_client import request_client
from app.intake.spool import Spool
from app.intake.spool_notice import SpoolNotice
from app.intake.stream import Stream
from app.intake.streams import Streams
from app.intake.submission import Submission
from app.intake.trust import Trust
from app.intake.waiting import run
from app.intake.watch import Watch
from app.store.connections import REQUEST_STATEMENT_TIMEOUT, request_pool
from app.store.writer import Writer
from config.settings import Settings

ASK_EVERY = 30.0  # s, whether the stream may still come first


class Parts(NamedTuple):
    """What a web process needs of the intake."""

    intake: Intake
    drainer: Drainer
    watch: Watch
    nodes: Nodes
    postgres: Postgres
    spool: Spool


def _limits(settings: Settings) -> Limits:
    return Limits(
        shop=Allowance(
            settings.rate_limit_shop_per_minute, settings.rate_limit_shop_bytes_per_minute
        ),
        visitor=Allowance(
            settings.rate_limit_visitor_per_minute, settings.rate_limit_visitor_bytes_per_minute
        ),
        rejected=settings.rate_limit_rejected_per_minute,
    )


def build(settings: Settings) -> Parts:
    """Nothing connects before its first use, after gunicorn's fork."""
    nodes = Nodes(request_client(settings))
    outcomes = Outcomes()
    limits, partitions = _limits(settings), settings.stream_partitions

    def make(node: Redis) -> Stream:
        return Stream(
            node,
            outcomes,
            breaker=CircuitBreaker(),
            partitions=partitions,
            max_batches=settings.stream_max_batches,
            bounds=Bounds(stream_bytes=settings.stream_max_bytes),
            dedup_window=settings.dedup_window_seconds,
            limits=limits,
            trust=Trust(settings.intake),
        )

    streams = Streams(nodes, make, outcomes, partitions=partitions)
    postgres = Postgres(
        request_pool(settings.database_url),
        Writer(statement_timeout=REQUEST_STATEMENT_TIMEOUT),
        Filter(streams, outcomes, dedup_window=settings.dedup_window_seconds, limits=limits),
        outcomes,
    )
    spool = Spool(Path(settings.spool_dir), max_bytes=settings.spool_max_bytes)
    intake = Intake(streams=streams, postgres=postgres, spool=spool, outcomes=outcomes)
    spool_notice = SpoolNotice(nodes, spool)

    def report() -> None:
        intake.report()
        spool_notice.post()
        streams.keep()

    def take(batch: Batch) -> bool:
        return run(intake.take(Submission(batch)))

    def look() -> None:
        with suppress(RedisError):
            nodes.refresh()
        intake.probe()

    drainer = Drainer(spool, Path(settings.spool_dir), take, report)
    watch = Watch(streams.ask_again, look, ask_every=ASK_EVERY)
    return Parts(intake, drainer, watch, nodes, postgres, spool)
