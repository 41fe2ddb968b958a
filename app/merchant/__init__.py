"""What a merchant reads about their shop: the page, its API, and the same in a terminal."""

from flask import Flask

from app.merchant.database import Database
from app.merchant.routes import bp
from config.settings import Settings


def init_app(app: Flask, settings: Settings) -> None:
    """Needs `app.extensions["status"]`, as app.health does."""
    app.extensions["reports"] = Database(settings.database_url, settings.reports_database_url)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.register_blueprint(bp)
