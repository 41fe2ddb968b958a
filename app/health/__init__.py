"""Whether the process lives, whether the system takes batches, and its numbers."""

from flask import Flask

from app.health.metrics import exposed
from app.health.routes import bp
from app.health.status import gather
from app.intake import Parts
from config.settings import Settings


def init_app(app: Flask, parts: Parts, settings: Settings) -> None:
    """Also sets `app.extensions["status"]`, a function that gathers the status, and
    `app.extensions["metrics"]`, one that returns what /metrics shows."""
    app.extensions["status"] = lambda: gather(
        parts.nodes,
        parts.postgres.ping,
        parts.spool,
        skipped=parts.intake.skipped(),
    )
    app.extensions["metrics"] = lambda: exposed(
        app.extensions["status"](), parts.nodes, parts.postgres.connection
    )
    app.register_blueprint(bp)
