"""Whether the process lives, whether the system takes batches, and its numbers."""

from flask import Flask

from app.health.routes import bp


def init_app(app: Flask) -> None:
    """Needs `app.extensions["status"]`, a function that gathers the status."""
    app.register_blueprint(bp)
