"""The tracking endpoint: what a storefront sends, and what it is answered."""

from flask import Flask

from app.tracking.endpoint import Endpoint
from app.tracking.routes import bp
from config.settings import Settings

ENDPOINT = "tracking.receive_events"  # the route's name


def init_app(app: Flask, settings: Settings) -> None:
    """Mount the endpoint under the app proxy's path. Batches go to `app.extensions["intake"]`."""
    app.extensions["endpoint"] = Endpoint(settings, app.extensions["intake"])
    app.register_blueprint(bp, url_prefix=settings.app_proxy_path)
