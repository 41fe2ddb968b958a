"""Whether the process lives, whether the system takes batches, and its numbers."""

from flask import Flask

from app.health.routes import bp
from app.health.status import gather
from app.intake import Parts
from config.settings import Settings


def init_app(app: Flask, parts: Parts, settings: Settings) -> None:
    """Also sets `app.extensions["status"]`, a function that gathers the status."""
    app.extensions["status"] = lambda: gather(
        parts.redis,
        parts.postgres.ping,
        parts.spool,
        partitions=settings.stream_partitions,
        skipped=parts.intake.skipped(),
    )
    app.register_blueprint(bp)
