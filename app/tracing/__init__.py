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


class WorkerTraces:
    """The worker's storing as it is: nothing is traced."""

    def storing(self, store: "Callable[[list[Batch]], None]") -> "Callable[[list[Batch]], None]":
        return store

    def copying(self, tell: Callable[[float], None]) -> Callable[[float], None]:
        """`tell` is what the writer's `on_copy` is for: after a COPY, by the thread that stores."""
        return tell


def of_worker(settings: Settings) -> WorkerTraces:
    if not settings.otel_exporter_otlp_endpoint:
        return WorkerTraces()
    from app.tracing import otel

    return otel.TracedWorker(otel.provider("worker", settings))
