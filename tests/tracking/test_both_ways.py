"""The endpoint under our worker, and the blueprint under any WSGI server, are one."""

import gzip
import json
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.calls import PATH, body, event, query

OF_THE_SERVER = {"date", "server", "connection"}


def reply_of(client, target, query_string, data, headers):
    reply = client.post(target, query_string=query_string, data=data, headers=headers)
    fields = {name.lower(): value for name, value in reply.headers.items()}
    return reply.status_code, reply.data, {
        name: value for name, value in fields.items() if name not in OF_THE_SERVER
    }  # fmt: skip


@pytest.fixture
def both(app, client):
    """Sends a request both ways; the replies must be the same, byte by byte."""

    def send(data, *, target=PATH, query_string=None, headers=()):
        query_string = query() if query_string is None else query_string
        under_worker = reply_of(client, target, query_string, data, headers)
        assert reply_of(app.test_client(), target, query_string, data, headers) == under_worker
        return under_worker

    return send


def document(*events, **fields):
    return json.dumps({**body(*events), **fields}).encode()


REQUESTS = {
    "accepted": (200, {"data": document(event(insert_id="a"))}),
    "repeated": (200, {"data": document(event(insert_id="b"), event(insert_id="b"))}),
    "partly valid": (200, {"data": document(event(), event(timestamp="yesterday"))}),
    "no valid event": (400, {"data": document(event(event="Nonsense"))}),
    "51 events": (400, {"data": document(*[event() for _ in range(51)])}),
    "no events": (400, {"data": document(events=[])}),
    "no context": (400, {"data": document(context=None)}),
    "not JSON": (400, {"data": b"{"}),
    "no body": (400, {"data": b""}),
    "not signed": (401, {"data": document(), "query_string": ""}),
    "wrongly signed": (401, {"data": document(), "query_string": query(secret="x")}),
    "stale": (401, {"data": document(), "query_string": query(timestamp=time.time() - 1_000)}),
    "too large": (413, {"data": b" " * (512 * 1024 + 1)}),
    "too large unpacked": (
        413,
        {"data": gzip.compress(b" " * 2**21), "headers": [("Content-Encoding", "gzip")]},
    ),
    "unknown encoding": (415, {"data": document(), "headers": [("Content-Encoding", "br")]}),
    "gzip": (
        200,
        {"data": gzip.compress(document(event())), "headers": [("Content-Encoding", "gzip")]},
    ),
    "a slash at the end": (200, {"data": document(event()), "target": PATH + "/"}),
    "an escape in the path": (200, {"data": document(event()), "target": PATH.replace("t", "%74")}),
    "two slashes at the end": (404, {"data": document(event()), "target": PATH + "//"}),
    "another path": (404, {"data": document(event()), "target": PATH + "x"}),
}


@pytest.mark.parametrize(("status", "request_"), REQUESTS.values(), ids=REQUESTS)
def test_a_request_gets_the_same_reply_both_ways(both, status, request_):
    assert both(**request_)[0] == status


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "HEAD"])
def test_another_method_gets_the_same_reply_both_ways(app, client, method):
    plain = app.test_client().open(PATH, method=method, query_string=query())
    served = client.open(PATH, method=method, query_string=query())
    assert (plain.status_code, plain.data) == (served.status_code, served.data)


bodies = st.one_of(
    st.binary(max_size=60),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["events", "context", "event", "timestamp", "$insert_id", "x"]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    ).map(lambda value: json.dumps(value).encode()),
    st.builds(
        lambda name, timestamp, extra: document(
            event(event=name, timestamp=timestamp, insert_id="same", more=extra)
        ),
        st.sampled_from(["widget:button_click", "widget:x", "no", "A:b"]),
        st.sampled_from(["2024-01-15T10:30:00Z", "2024-01-15", "", "2024-01-15 10:30+02"]),
        st.text(max_size=10),
    ),
)
queries = st.one_of(
    st.none(),
    st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="#"),
            max_size=40),
    st.text(st.characters(codec="utf-8"), max_size=10).map(
        lambda text: query(extra=[("x", text), ("y", "")])
    ),
)  # fmt: skip
encodings = st.sampled_from(["", "", "", "identity", "gzip", "br", "GZIP"])


@pytest.mark.slow
@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(bodies, queries, encodings)
def test_random_requests_get_the_same_reply_both_ways(both, data, query_string, encoding):
    headers = [("Content-Encoding", encoding)] if encoding else []
    status, _, fields = both(data, query_string=query_string, headers=headers)
    assert status < 500
    assert fields["cache-control"] == "private, no-store"
