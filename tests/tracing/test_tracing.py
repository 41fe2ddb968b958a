"""Traces, from a request to its rows, and what is not in them."""

import json
import socket
from contextlib import closing
from dataclasses import replace

import psycopg
import pytest
from opentelemetry.instrumentation.psycopg import PsycopgInstrumentor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from psycopg import DataError

from app import create_app
from app.batch.batch import Batch
from app.store.connections import BoundedConnection, connect
from app.store.writer import Writer
from app.tracing import otel
from app.worker.consumer import Entry
from app.worker.storing import Storing, parse
from tests.calls import CONTEXT, Caller, body, event
from tests.processes.running import wait_until
from tests.serving import Client, serving

SHOPPER = {
    "email": "a.shopper@example.com",
    "$current_url": "https://yourstore.com/secret-page",
    "genlook_client_id": "0f6f5bd4-98a0-4a43-8a5b-6dbb4dd2b9a1",
    "$session_id": "a-session-of-theirs",
    "$raw_user_agent": "an-agent-of-theirs",
}


@pytest.fixture
def exporter():
    connect = psycopg.Connection.__dict__["connect"]
    yield InMemorySpanExporter()
    PsycopgInstrumentor().uninstrument()
    # It leaves a method that makes plain connections behind, also for those with a class of theirs.
    psycopg.Connection.connect = connect


@pytest.fixture
def tracing(settings, database, exporter):
    """A caller of an app that traces, and the spans so far."""
    settings = replace(settings, intake="store")
    app = create_app(settings)
    provider = otel.provider("web", settings, exporter)
    otel.trace_web(app, settings, provider)

    def spans():
        provider.force_flush()
        return exporter.get_finished_spans()

    with serving(app) as server, closing(Client(server, app)) as client:
        yield Caller(client, database, lambda: None), spans
    app.extensions["reports"].close()
    provider.shutdown()


def test_a_request_s_statements_belong_to_its_trace(tracing, caplog):
    caller, spans = tracing
    for _ in range(2):
        assert caller.post(body()).status_code == 200
    intakes = [span for span in spans() if span.name == "intake"]
    assert [span.attributes["http.response.status_code"] for span in intakes] == [200, 200]
    for intake in intakes:
        assert intake.parent is None
        children = [
            span
            for span in spans()
            if span.parent and span.parent.span_id == intake.context.span_id
        ]
        assert any("nextval" in span.attributes["db.statement"] for span in children)
    assert len({span.context.trace_id for span in intakes}) == 2
    assert caplog.text == ""


def test_other_routes_are_traced_under_their_rule(tracing):
    caller, spans = tracing
    caller.get("/webhooks?a=secret-page")
    caller.get("/healthz")
    caller.get("/secret-page")
    assert {span.name for span in spans()} >= {"GET /healthz", "GET"}
    assert "secret" not in text_of(spans())


def test_nothing_of_a_shopper_is_in_a_trace(tracing):
    caller, spans = tracing
    agent = {
        "User-Agent": SHOPPER["$raw_user_agent"],
        "X-Forwarded-For": "203.0.113.9",
        "traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01",
        "tracestate": "a=tracestate",
    }
    one = event(properties={"email": SHOPPER["email"]}, insert_id="an-id-of-theirs")
    shopper = {**CONTEXT, **SHOPPER}
    for _ in range(2):
        caller.post(body(one, context=shopper), customer="4711471147", headers=agent)
    caller.post(body(event(timestamp="x"), one, context=shopper), headers=agent)
    caller.get("/healthz?signature=secret-page", headers=agent)
    told = text_of(spans())
    assert "a-shop.myshopify.com" in told
    theirs = [*SHOPPER.values(), "an-id-of-theirs", "4711471147", "203.0.113.9", "127.0.0.1",
              "tracestate", "signature", "ab" * 16]  # fmt: skip
    assert [text for text in theirs if text in told] == []


def test_an_error_s_text_stays_here(exporter, settings, database):
    provider = otel.provider("worker", settings, exporter)
    with (
        connect(settings.database_url, "tests") as connection,
        pytest.raises(DataError, match="a-secret"),
    ):
        connection.execute("SELECT %s::int", ["a-secret"])
    provider.shutdown()
    [span] = [span for span in exporter.get_finished_spans() if span.name == "SELECT"]
    assert not span.status.is_ok
    assert "a-secret" not in text_of([span])


def test_the_worker_s_storing_is_traced(exporter, settings, database, app):
    provider = otel.provider("worker", settings, exporter)
    storing = Storing(
        lambda: connect(settings.database_url, "tests"), Writer(statement_timeout=10_000)
    )
    otel.TracedWorker(provider).storing(storing.store)([])
    storing.close()
    provider.shutdown()
    [span] = [span for span in exporter.get_finished_spans() if span.name == "store"]
    assert span.attributes == {"genlook.batches": 0}
    assert span.resource.attributes["service.name"] == "genlook-worker"


def test_the_rows_of_a_stream_lead_back_to_their_requests(
    exporter, settings, database, redis_client
):
    app = create_app(settings)
    provider = otel.provider("web", settings, exporter)
    otel.trace_web(app, settings, provider)
    worker, told = otel.TracedWorker(provider), []
    writer = Writer(statement_timeout=10_000, on_copy=worker.copying(told.append))
    storing = Storing(lambda: connect(settings.database_url, "tests"), writer)
    with serving(app) as server, closing(Client(server, app)) as client:
        caller = Caller(client, database, lambda: None)
        for _ in range(2):
            assert caller.post(body()).status_code == 200
    [(_, entries)] = redis_client.xread({"{t0}:stream": "0"})
    batches = [parse(Entry("", id_, fields, 0)) for id_, fields in entries]
    worker.storing(storing.store)(batches)
    storing.close()
    app.extensions["reports"].close()
    provider.shutdown()
    spans = exporter.get_finished_spans()
    requests = [span.context for span in spans if span.name == "intake"]
    [store] = [span for span in spans if span.name == "store"]
    assert [(link.context.trace_id, link.context.span_id) for link in store.links] == [
        (context.trace_id, context.span_id) for context in requests
    ]
    assert len(requests) == 2
    [copy] = [span for span in spans if span.name == "copy"]
    assert copy.parent.span_id == store.context.span_id
    assert store.start_time < copy.start_time < copy.end_time < store.end_time
    assert told == [pytest.approx((copy.end_time - copy.start_time) / 1e9, abs=0.01)]


def test_what_names_no_span_is_no_fault(exporter, settings):
    provider = otel.provider("worker", settings, exporter)
    stored = []
    otel.TracedWorker(provider).storing(stored.extend)(
        [Batch("a", trace=b"nothing\xff"), Batch("b")]
    )
    provider.shutdown()
    assert len(stored) == 2
    assert exporter.get_finished_spans()[-1].links == ()


def test_it_is_off_where_nothing_is_set(app):
    assert type(app.extensions["endpoint"]).__name__ == "Endpoint"


def text_of(spans):
    return json.dumps([json.loads(span.to_json()) for span in spans])


def test_a_body_that_comes_late_is_answered_all_the_same(tracing, caplog):
    caller, spans = tracing
    with closing(socket.create_connection(caller._client._address, timeout=10)) as connection:
        connection.sendall(b"POST /webhooks HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n"
                           b"X-Shopify-Hmac-Sha256: x\r\nX-Shopify-Topic: a/b\r\n"
                           b"X-Shopify-Shop-Domain: a-shop.myshopify.com\r\n\r\n")  # fmt: skip
        wait_until(lambda: spans())
        connection.sendall(b"{}")
        assert b" 401 " in connection.recv(65536)
    assert "Traceback" not in caplog.text


def test_a_traced_request_keeps_its_time_limit_in_postgres(tracing):
    caller, _ = tracing
    with caller.extensions["intake"].postgres.connection() as connection:
        assert isinstance(connection, BoundedConnection)
        assert connection.deadline
