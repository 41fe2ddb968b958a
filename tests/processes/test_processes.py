"""The processes themselves: started, used, stopped and killed."""

import contextlib
import http.client
import json
import os
import signal
import socket
import threading
import time
import urllib.request
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from app.dev.seed import Seed
from app.shopify.session_token import make_token
from tests.calls import CONTEXT, PATH, SECRET, SHOP, body, event, query
from tests.counts.histories import store
from tests.processes.running import flask, wait_until

SUCCESS = b'{"success":true}'


def connect(web):
    return closing(http.client.HTTPConnection("127.0.0.1", web.port, timeout=20))


def post_over(connection, document):
    """One signed call; (status, body)."""
    raw = document if isinstance(document, bytes) else json.dumps(document).encode()
    connection.request("POST", f"{PATH}?{query()}", raw)
    reply = connection.getresponse()
    return reply.status, reply.read()


def post(web, document):
    with connect(web) as connection:
        return post_over(connection, document)


def stored(database):
    return database.execute("SELECT insert_id FROM tracked_events").fetchall()


class Load(threading.Thread):
    """Sends batches one after the other and remembers the ids whose batch was a success."""

    def __init__(self, web, stop):
        super().__init__()
        self.web, self.stop = web, stop
        self.acknowledged, self.refused = [], []

    def run(self):
        with connect(self.web) as connection:
            while not self.stop.is_set():
                self.send(connection)

    def send(self, connection):
        events = [event(), event()]
        try:
            visitor = {**CONTEXT, "genlook_client_id": events[0]["$insert_id"]}
            reply = post_over(connection, body(*events, context=visitor))
        except (OSError, http.client.HTTPException):
            connection.close()  # the next request opens another
            time.sleep(0.01)
            return
        if reply == (200, SUCCESS):
            self.acknowledged += [one["$insert_id"] for one in events]
        else:
            self.refused.append(reply)


@pytest.fixture
def load():
    """Starts four loads; all stop at the end of the block or of the test."""
    stop = threading.Event()
    threads = []

    def start(web):
        threads.extend(Load(web, stop) for _ in range(4))
        for thread in threads:
            thread.start()
        return threads

    start.stop = lambda: (stop.set(), [thread.join() for thread in threads])
    yield start
    start.stop()


def assert_each_success_is_stored_once(database, threads, seconds=20):
    acknowledged = {id_ for thread in threads for id_ in thread.acknowledged}
    wait_until(lambda: acknowledged <= {row[0] for row in stored(database)}, seconds)
    ids = [row[0] for row in stored(database)]
    assert len(ids) == len(set(ids))
    assert len(acknowledged) > 20
    assert [thread.refused for thread in threads if thread.refused] == []


def test_an_event_reaches_the_database_through_web_and_worker(start_web, start_worker, database):
    web, _ = start_web(), start_worker()
    assert post(web, {"events": [event(insert_id="x")], "context": CONTEXT}) == (200, SUCCESS)
    wait_until(lambda: stored(database) == [("x",)])


@pytest.mark.slow
def test_the_same_event_over_32_connections_at_once_is_stored_once(
    start_web, start_worker, database
):
    web, _ = start_web(), start_worker()
    batch, replies = body(event(insert_id="x")), []
    barrier = threading.Barrier(32)

    def send():
        with connect(web) as connection:
            connection.connect()
            barrier.wait()
            replies.append(post_over(connection, batch))

    threads = [threading.Thread(target=send) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert replies == [(200, SUCCESS)] * 32
    wait_until(lambda: stored(database) == [("x",)])


@pytest.mark.slow
@pytest.mark.parametrize("intake", ["stream", "store"])
def test_stopping_web_under_load_loses_nothing(start_web, start_worker, database, load, intake):
    web, _ = start_web(INTAKE=intake), start_worker()
    threads = load(web)
    time.sleep(1)
    assert web.terminate() < 25
    load.stop()
    assert web.process.returncode == 0
    assert_each_success_is_stored_once(database, threads)


@pytest.mark.slow
def test_stopping_the_worker_under_load_loses_nothing(start_web, start_worker, database, load):
    web, worker = start_web(), start_worker()
    threads = load(web)
    time.sleep(1)
    while worker.process.poll() is None:  # again and again until the very end
        os.kill(worker.process.pid, signal.SIGTERM)
        time.sleep(0.02)
    assert worker.process.returncode == 0
    start_worker()
    time.sleep(0.5)
    load.stop()
    assert_each_success_is_stored_once(database, threads)


@pytest.mark.slow
def test_killing_the_worker_under_load_loses_nothing(start_web, start_worker, database, load):
    web, worker = start_web(), start_worker()
    threads = load(web)
    for _ in range(3):
        time.sleep(0.4)
        worker.kill()
        worker = start_worker()
    load.stop()
    assert_each_success_is_stored_once(database, threads)


@pytest.mark.slow
def test_no_log_line_holds_the_query_string(start_web):
    web = start_web(
        GUNICORN_CMD_ARGS="--access-logfile -", FORWARDED_ALLOW_IPS="*", LOG_LEVEL="DEBUG"
    )
    post(web, body())
    post(web, b"{")
    for request in (
        f"POST {PATH}?{query()} HTTP/9.9\r\n\r\n",
        f"POST {PATH}? {query()} HTTP/1.1\r\n\r\n",
        f"POST {PATH}?a b {query()}",
        f"POST / HTTP/1.1\r\n{query()}\r\n\r\n",
        f"POST / HTTP/1.1\r\n{query()}: a\r\n\r\n",
        f"P@ST {PATH}?{query()} HTTP/1.1\r\n\r\n",
        f"POST {PATH}?{query()}\r\n\r\n",
        f"POST {PATH}?{query()}&{'a' * 9000} HTTP/1.1\r\n\r\n",
        f"POST {PATH}?{query()} HTTP/1.1\r\nno header\r\n\r\n",
        f"POST {PATH}?{query()} HTTP/1.1\r\nTransfer-Encoding: odd\r\n\r\n",
    ):
        raw_reply(web, request.encode())
    output = web.output()
    assert "signature=" not in output
    assert "myshopify.com" not in output.replace('"shop": "a-shop.myshopify.com"', "")
    assert "path_prefix" not in output
    assert "customer_id" not in output


def raw_reply(web, request):
    with socket.create_connection(("127.0.0.1", web.port), timeout=10) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
        return b"".join(parts)


@pytest.mark.slow
@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X-A: b\r\n" * 500 + b"\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: odd\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nSCRIPT_NAME: /elsewhere\r\nX-Forwarded-Proto: https\r\n"
        b"X-Forwarded-Ssl: off\r\nConnection: close\r\n\r\n",
        b"POST / HTTP/1.1\r\nExpect: magic\r\nContent-Length: 1\r\n\r\n1",
    ],
)
def test_what_is_not_http_gets_a_json_reply(shared_web, request_bytes):
    head, _, content = raw_reply(shared_web, request_bytes).partition(b"\r\n\r\n")
    assert b"HTTP/1.1 4" in head
    assert b"Content-Type: application/json" in head
    assert b"Cache-Control: private, no-store" in head
    assert json.loads(content)["success"] is False


@pytest.fixture
def shared_web(start_web):
    return start_web(WEB_CONCURRENCY="1", FORWARDED_ALLOW_IPS="*")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "status"),
    [
        (PATH, 200),
        (f"{PATH}/", 200),
        (PATH.replace("tracking", "%74racking"), 200),
        (f"{PATH}//", 404),
        (f"{PATH}%2F", 200),
        (f"{PATH}/more", 404),
        (f"http://elsewhere{PATH}", 200),
        ("http://elsewhere", 404),
    ],
)
def test_paths_are_one_resource_with_and_without_a_slash_and_never_redirect(
    shared_web, path, status
):
    with connect(shared_web) as connection:
        connection.request("POST", f"{path}?{query()}", json.dumps(body()).encode())
        assert connection.getresponse().status == status


@pytest.mark.slow
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_other_methods_are_refused(shared_web, method):
    with connect(shared_web) as connection:
        connection.request(method, f"{PATH}?{query()}")
        reply = connection.getresponse()
        assert (reply.status, reply.headers["Allow"]) == (405, "POST")
        assert json.loads(reply.read())["code"] == "METHOD_NOT_ALLOWED"


@pytest.mark.slow
def test_a_connection_is_never_upgraded(shared_web):
    upgrade = (
        "Host: a\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    reply = raw_reply(shared_web, f"GET {PATH}?{query()} HTTP/1.1\r\n{upgrade}".encode())
    assert reply.startswith(b"HTTP/1.1 405 ")
    assert b"Cache-Control: private, no-store" in reply
    assert json.loads(reply.partition(b"\r\n\r\n")[2])["code"] == "METHOD_NOT_ALLOWED"


@pytest.mark.slow
def test_bodies_in_chunks_are_taken_within_the_limits(shared_web, redis_client):
    def chunked(raw):
        chunks = b"".join(
            b"%x\r\n%b\r\n" % (len(raw[at : at + 60_000]), raw[at : at + 60_000])
            for at in range(0, len(raw), 60_000)
        )
        head = f"POST {PATH}?{query()} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
        return raw_reply(
            shared_web, head.encode() + b"Connection: close\r\n\r\n" + chunks + b"0\r\n\r\n"
        )

    assert chunked(json.dumps(body()).encode()).endswith(SUCCESS)
    assert redis_client.xlen("{t0}:stream") == 1
    assert b"413" in chunked(b'"' + b"a" * 600_000 + b'"').split(b"\r\n")[0]


@pytest.mark.slow
def test_a_body_of_many_megabytes_is_answered_and_not_cut_off(shared_web):
    status, content = post(shared_web, b"a" * 3_000_000)
    assert (status, json.loads(content)["code"]) == (413, "PAYLOAD_TOO_LARGE")


@pytest.mark.slow
def test_a_body_that_never_ends_costs_no_batch(shared_web, redis_client):
    head = f"POST {PATH}?{query()} HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n"
    raw_reply(shared_web, head.encode() + b'{"events":')
    assert post(shared_web, body()) == (200, SUCCESS)


@pytest.mark.slow
def test_connections_beyond_a_hundred_wait_in_the_queue(start_web):
    web = start_web(WEB_CONCURRENCY="1")
    assert post(web, body(event())) == (200, SUCCESS)
    with contextlib.ExitStack() as stack:
        os.killpg(web.process.pid, signal.SIGSTOP)
        stack.callback(os.killpg, web.process.pid, signal.SIGCONT)
        for _ in range(300):
            stack.enter_context(socket.create_connection(("127.0.0.1", web.port), timeout=0.5))
    assert post(web, body(event())) == (200, SUCCESS)


@pytest.mark.slow
@pytest.mark.parametrize("line", ["web", "worker"])
def test_however_often_it_is_told_to_stop_a_process_ends_well(start_web, start_worker, line):
    running = start_web() if line == "web" else start_worker()
    while running.process.poll() is None:
        os.killpg(running.process.pid, signal.SIGTERM)
        time.sleep(0.005)
    assert running.process.returncode == 0
    assert "was sent SIGTERM" not in running.output()  # gunicorn, of a process of its own


@pytest.mark.slow
def test_a_worker_that_stopped_cleanly_is_no_longer_shown(start_worker, settings):
    worker = start_worker()
    shown = f"-{worker.process.pid}, seen"
    wait_until(lambda: shown in flask(settings, "status").stdout)
    worker.terminate()
    assert "none is running" in flask(settings, "status").stdout


@pytest.mark.slow
@pytest.mark.parametrize("line", ["release", "web", "worker"])
def test_a_start_without_a_secret_is_refused_in_one_message(start, line):
    process = start(line, SHOPIFY_API_SECRET="", PORT="0x50")
    assert process.process.wait(20) != 0
    assert "SHOPIFY_API_SECRET: is missing" in process.output()
    assert "PORT: " in process.output()
    assert "Traceback" not in process.output()


@pytest.mark.slow
def test_a_web_process_that_has_shown_a_report_stops_at_once(start_web):
    web = start_web(SHOPIFY_API_KEY="key")
    shown = make_token(SHOP, "key", SECRET.encode(), now=time.time(), lifetime=60)
    with urllib.request.urlopen(f"{web.url}/app?id_token={shown}") as page:
        assert page.status == 200
    assert web.terminate() < 5


@pytest.mark.slow
def test_exports_that_nobody_reads_to_their_end_are_in_nobodys_way(start_web, database):
    until = datetime.now(UTC) - timedelta(hours=1)
    store(database, *Seed(SHOP, until=until).batches(60_000, days=2))
    web = start_web(SHOPIFY_API_KEY="key", WEB_CONCURRENCY="1")
    shown = make_token(SHOP, "key", SECRET.encode(), now=time.time(), lifetime=60)
    path = (
        f"GET /app/api/events?format=ndjson&range=7 HTTP/1.1\r\nAuthorization: Bearer {shown}\r\n"
    )
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", web.port), timeout=20) as reader:
            reader.sendall(f"{path}Host: a\r\n\r\n".encode())
            assert reader.recv(15) == b"HTTP/1.1 200 OK"
            time.sleep(0.3)  # the server waits for who reads nothing more
    wait_until(
        lambda: (
            not database.execute(
                "SELECT 1 FROM pg_stat_activity WHERE application_name = 'genlook export'"
                " AND datname = current_database()"
            ).fetchone()
        )
    )
