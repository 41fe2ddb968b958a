"""What Sentry is told, by its own library to a server on this machine."""

import gzip
import logging
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import sentry_sdk

from tests.calls import body, event

# Not where the faults are: lines of the source are reported with them.
EMAIL, CUSTOMER, ADDRESS = "ann@example.com", "customer-4711", "10.1.2.3"
QUERY = "?path_prefix=x&signature=1"


@pytest.fixture
def sentry():
    received = []

    class Sink(BaseHTTPRequestHandler):
        def do_POST(self):
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            received.append(gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Sink) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://key@127.0.0.1:{server.server_port}/1", received
        sentry_sdk.get_client().close(timeout=2)
        sentry_sdk.init()
        server.shutdown()


def test_a_fault_is_reported_without_anything_that_was_sent(calling, sentry, monkeypatch):
    dsn, received = sentry
    caller = calling(sentry_dsn=dsn)

    def fail(batch):
        raise ValueError(f"{batch.events} {EMAIL} {ADDRESS}")

    monkeypatch.setattr(caller.extensions["intake"], "append", fail)
    sent = event(properties={"mail": EMAIL})
    reply = caller.post(body(sent), customer=CUSTOMER, headers={"X-Forwarded-For": ADDRESS})
    assert reply.json["code"] == "NOT_STORED"
    logging.getLogger("app").error("no %s", QUERY, extra={"cause": EMAIL})
    caller.get("/healthz")
    sentry_sdk.flush(2)
    text = b"".join(received).decode()
    assert '"sessions"' not in text  # one a request; nobody looks at them
    assert "ValueError" in text
    assert "_take_batch" in text  # where it happened
    for word in (EMAIL, CUSTOMER, ADDRESS, *QUERY.split("&"), sent["$insert_id"]):
        assert word not in text
