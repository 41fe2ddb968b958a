"""What Shopify tells by webhook: that a shop has left, that somebody wants to be forgotten."""

from flask import Flask

from app.webhooks.routes import bp


def init_app(app: Flask) -> None:
    """Needs `app.extensions["database"]`, which gives a connection for a block."""
    app.register_blueprint(bp)
