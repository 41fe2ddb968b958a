"""What is traced, and how little of it leaves the process.

Source: https://opentelemetry.io/docs/languages/python/
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from opentelemetry import propagate
from opentelemetry.context import Context, get_current
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from opentelemetry.instrumentation.psycopg import PsycopgInstrumentor
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import (
    Link,
    SpanContext,
    SpanKind,
    Status,
    Tracer,
    format_span_id,
    format_trace_id,
    get_current_span,
)

from app.batch.batch import Batch
from app.intake.intake import Intake
from app.intake.submission import Submission
from app.replies import Reply
from app.shopify.app_proxy import Verdict
from app.tracing import WorkerTraces
from app.tracking.endpoint import Endpoint
from config.settings import Settings

_NAME = "genlook"
_TIMEOUT = 2.0  # s, of a collector that is away: a process that stops waits for it once
# No address, no query string, no agent, no cause that quotes a row. Statements have placeholders
# where their values are.
_KEPT = frozenset(
    ("http.method", "http.request.method", "http.route", "http.status_code",
     "http.response.status_code", "db.system", "db.system.name", "db.statement", "db.query.text",
     "genlook.shop", "genlook.batches")
)  # fmt: skip


def provider(
    process: str, settings: Settings, exporter: SpanExporter | None = None
) -> TracerProvider:
    """Exports as the standard OTEL_… variables say, or by `exporter`."""
    # OTEL_SERVICE_NAME comes first.
    given = Resource.create().attributes.get(SERVICE_NAME, "")
    is_default = str(given).startswith("unknown_service")
    name = f"genlook-{process}" if is_default else str(given)
    resource = Resource.create({SERVICE_NAME: name, SERVICE_VERSION: settings.revision})
    made = TracerProvider(resource=resource)
    made.add_span_processor(
        BatchSpanProcessor(Stripped(exporter or OTLPSpanExporter(timeout=_TIMEOUT)))
    )
    propagate.set_global_textmap(Disbelief())
    PsycopgInstrumentor().instrument(tracer_provider=made)
    return made


def trace_web(app: Any, settings: Settings, made: TracerProvider) -> None:
    FlaskInstrumentor().instrument_app(app, tracer_provider=made)  # type: ignore[no-untyped-call]
    app.extensions["endpoint"] = TracedEndpoint(
        settings, app.extensions["intake"], made.get_tracer(_NAME)
    )


class TracedWorker(WorkerTraces):
    """A span for each transaction, and in it one for its COPY, which psycopg's instrumentation does
    not see."""

    def __init__(self, made: TracerProvider) -> None:
        self._tracer = made.get_tracer(_NAME)

    def storing(self, store: Callable[[list[Batch]], None]) -> Callable[[list[Batch]], None]:
        def traced(batches: list[Batch]) -> None:
            links = [link for batch in batches if batch.trace and (link := _link(batch.trace))]
            with self._tracer.start_as_current_span(
                "store", attributes={"genlook.batches": len(batches)}, links=links
            ):
                store(batches)

        return traced

    def copying(self, tell: Callable[[float], None]) -> Callable[[float], None]:
        def traced(seconds: float) -> None:
            began = time.time_ns() - int(seconds * 1e9)
            self._tracer.start_span("copy", start_time=began).end()
            tell(seconds)

        return traced


class TracedEndpoint(Endpoint):
    """Its requests are answered without Flask, so they have a span of their own."""

    def __init__(self, settings: Settings, intake: Intake, tracer: Tracer) -> None:
        super().__init__(settings, intake)
        self._tracer = tracer

    async def take(self, verdict: Verdict, content_encoding: str, body: bytes) -> Reply:
        attributes = {"genlook.shop": verdict.shop}
        with self._tracer.start_as_current_span(
            "intake", kind=SpanKind.SERVER, attributes=attributes
        ) as span:
            reply = await super().take(verdict, content_encoding, body)
            span.set_attribute("http.response.status_code", reply.status)
            return reply

    async def hand_over(self, submission: Submission) -> None:
        context = get_current_span().get_span_context()
        if context.trace_flags.sampled:
            ids = format_trace_id(context.trace_id), format_span_id(context.span_id)
            submission.batch.trace = "-".join(ids).encode()
        await super().hand_over(submission)


def _link(trace: bytes) -> Link | None:
    """To the span of a request that has sent a batch."""
    trace_id, _, span_id = trace.decode(errors="replace").partition("-")
    try:
        context = SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True)
    except ValueError:
        return None
    return Link(context)


class Disbelief(TextMapPropagator):
    """What a caller says about traces is neither believed nor passed on."""

    def extract(self, carrier: Any, context: Context | None = None, getter: Any = None) -> Context:
        return get_current() if context is None else context

    def inject(self, carrier: Any, context: Context | None = None, setter: Any = None) -> None:
        pass

    @property
    def fields(self) -> set[str]:
        return set()


class Stripped(SpanExporter):
    """Passes on what is named above, the spans' names and times, and nothing else: whatever an
    instrumentation comes to record, nothing of a shopper leaves with it."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return self._exporter.export([_stripped(span) for span in spans])

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


def _name(given: str, attributes: Mapping[str, object]) -> str:
    """Where no route fits, the instrumentation takes the caller's path for a name."""
    method = attributes.get("http.method", attributes.get("http.request.method"))
    if method is None:  # none of Flask's
        return given
    route = attributes.get("http.route")
    return f"{method} {route}" if route else str(method)


def _stripped(span: ReadableSpan) -> ReadableSpan:
    attributes = span.attributes or {}
    return ReadableSpan(
        name=_name(span.name, attributes),
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes={name: value for name, value in attributes.items() if name in _KEPT},
        kind=span.kind,
        links=[Link(link.context) for link in span.links],
        status=Status(span.status.status_code),  # its description quotes the exception
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )
