"""What the processes measure of their own work, and how it gets to where /metrics can read it."""

from flask import Flask, request

from app.intake import Parts
from app.metrics.histograms import REQUESTS, Histograms
from app.metrics.reporter import Reporter
from config.settings import Settings

ROUTE = "genlook.route"  # in the WSGI environment: the route's name, one of the app's own


def init_app(app: Flask, parts: Parts, settings: Settings) -> None:
    """Sets `app.extensions["requests"]`, where what serves the app counts its replies, and
    `app.extensions["reporter"]`."""
    requests = Histograms(REQUESTS)
    app.extensions["requests"] = requests
    app.extensions["reporter"] = Reporter(
        parts.nodes, [requests], kind="web", revision=settings.revision, spool=parts.spool
    )
    app.before_request(_name_route)


def _name_route() -> None:
    """Never after a path that a caller chose: there are as many of them as callers like."""
    if request.endpoint:
        request.environ[ROUTE] = request.endpoint
