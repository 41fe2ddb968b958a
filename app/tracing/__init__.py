"""Traces, by OpenTelemetry, where OTEL_EXPORTER_OTLP_ENDPOINT is set. Its packages are an optional
extra, and are imported only then."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from flask import Flask

from config.settings import Settings

if TYPE_CHECKING:
    from app.batch.batch import Batch


def init_app(app: Flask, settings: Settings) -> None:
    """Trace what the web process does. Replaces `app.extensions["endpoint"]`."""
    if settings.otel_exporter_otlp_endpoint:
        from app.tracing import otel

        otel.trace_web(app, settings, otel.provider("web", settings))


def traced(
    store: "Callable[[list[Batch]], None]", settings: Settings
) -> "Callable[[list[Batch]], None]":
    """The worker's storing, traced."""
    if not settings.otel_exporter_otlp_endpoint:
        return store
    from app.tracing import otel

    return otel.trace_worker(store, otel.provider("worker", settings))
