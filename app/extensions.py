"""The app's clients, built once and shared by its requests."""

from pathlib import Path

from flask import Flask

from app.health.status import gather
from app.intake.drainer import Drainer
from app.intake.filter import Filter
from app.intake.intake import Intake
from app.intake.limits import Limits
from app.intake.outcomes import Outcomes
from app.intake.pause import Pause
from app.intake.redis_client import is_persistent, request_client
from app.intake.spool import Spool
from app.intake.spooled import SpoolReport
from app.intake.store import Store
from app.intake.stream import Stream
from app.store.connections import REQUEST_STATEMENT_TIMEOUT, request_pool
from app.store.writer import Writer
from config.settings import Settings


def init_app(app: Flask, settings: Settings) -> None:
    """Build the intake; it connects at its first use, after gunicorn's fork."""
    redis = request_client(settings)
    pause = Pause()
    outcomes = Outcomes()
    limits = Limits(
        shop=settings.rate_limit_shop_per_minute, visitor=settings.rate_limit_visitor_per_minute
    )
    stream = Stream(
        redis,
        outcomes,
        pause=pause,
        partitions=settings.stream_partitions,
        max_batches=settings.stream_max_batches,
        dedup_window=settings.dedup_window_seconds,
        limits=limits,
    )
    store = Store(
        request_pool(settings.database_url),
        Writer(statement_timeout=REQUEST_STATEMENT_TIMEOUT),
        Filter(
            redis,
            outcomes,
            pause=pause,
            partitions=settings.stream_partitions,
            dedup_window=settings.dedup_window_seconds,
            limits=limits,
        ),
        outcomes,
    )
    spool = Spool(Path(settings.spool_dir), max_bytes=settings.spool_max_bytes)
    intake = Intake(
        stream=stream,
        store=store,
        spool=spool,
        mode=settings.intake,
        is_persistent=lambda: is_persistent(redis),
        outcomes=outcomes,
    )
    app.extensions["settings"] = settings
    app.extensions["intake"] = intake
    app.extensions["database"] = store.connection
    spool_report = SpoolReport(redis, spool)

    def report() -> None:
        intake.report()
        spool_report.tell()

    app.extensions["drainer"] = Drainer(spool, Path(settings.spool_dir), intake.take, report)
    app.extensions["status"] = lambda: gather(
        redis, store.ping, spool, partitions=settings.stream_partitions
    )
