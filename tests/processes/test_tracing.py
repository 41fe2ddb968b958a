"""The processes' traces at a collector, and without one."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.calls import body
from tests.processes.running import free_port, wait_until
from tests.processes.test_processes import post, stored

pytestmark = pytest.mark.slow


@contextmanager
def collector(received):
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            received.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_web_and_worker_send_their_traces_before_they_end(start_web, start_worker, database):
    received = []
    with collector(received) as address:
        traced = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": address,
            "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
            "OTEL_BSP_SCHEDULE_DELAY": "600000",
        }
        web, worker = start_web(**traced), start_worker(**traced)
        assert post(web, body())[0] == 200
        wait_until(lambda: len(stored(database)) == 1)
        web.terminate()
        worker.terminate()
        told = b"".join(received)
    for text in (b"genlook-web", b"genlook-worker", b"intake", b"store", b"a-shop.myshopify.com"):
        assert text in told
    assert b"session_abc123" not in told


def test_a_collector_that_is_away_holds_nothing_up(start_web, start_worker, database):
    traced = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}"}
    web, worker = start_web(**traced), start_worker(**traced)
    for _ in range(3):
        assert post(web, body())[0] == 200
    wait_until(lambda: len(stored(database)) == 3)
    assert web.terminate() < 8
    assert worker.terminate() < 8
    assert web.process.returncode == worker.process.returncode == 0
