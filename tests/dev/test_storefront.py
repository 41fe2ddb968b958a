import gzip
import hashlib
import hmac
import json
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from urllib.parse import parse_qsl, urlsplit

import pytest

from app.dev.storefront import Storefront

SECRET = "hush"
PATH = "/apps/proxy_genlook-x/public/tracking/events"


class Target(BaseHTTPRequestHandler):
    """Remembers what arrives, answers as it is told."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        length = self.headers.get("Content-Length")
        body = self.rfile.read(int(length or 0))
        request = SimpleNamespace(
            method=self.command, url=urlsplit(self.path), headers=self.headers, body=body
        )
        self.server.requests.append(request)
        status, headers, body = self.server.answer(request)
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_PUT = do_DELETE = do_POST  # noqa: N815

    def log_message(self, *_):
        pass


class TargetServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


@contextmanager
def serving(server):
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def answering(body, *headers, status=200):
    return lambda _: (status, [("Content-Length", str(len(body))), *headers], body)


@pytest.fixture
def target():
    server = TargetServer(("127.0.0.1", 0), Target)
    server.requests = []
    server.answer = answering(b'{"success":true}')
    with serving(server):
        yield server


@pytest.fixture
def storefront(target):
    url = f"http://127.0.0.1:{target.server_port}"
    shop = "genlook-dev.myshopify.com"
    with serving(Storefront(0, url, shop=shop, customer="", secret=SECRET)) as server:
        yield server


def visit(storefront, path=PATH, method="POST", body=b"{}", headers=None, **options):
    with closing(HTTPConnection("127.0.0.1", storefront.server_port, timeout=10)) as connection:
        connection.request(method, path, body, headers or {}, **options)
        reply = connection.getresponse()
        return SimpleNamespace(status=reply.status, headers=reply.headers, body=reply.read())


def parameters(request):
    return parse_qsl(request.url.query, keep_blank_values=True)


def expected_signature(pairs):
    values = {}
    for key, value in pairs:
        if key != "signature":
            values.setdefault(key, []).append(value)
    message = "".join(sorted(f"{key}={','.join(parts)}" for key, parts in values.items()))
    return hmac.new(SECRET.encode(), message.encode(), hashlib.sha256).hexdigest()


def test_the_signature_is_the_one_shopify_would_compute(storefront, target):
    visit(storefront, f"{PATH}?extra=1&extra=2&name=J%C3%BCrgen+M&blank=")
    pairs = parameters(target.requests[0])
    assert dict(pairs)["signature"] == expected_signature(pairs)


def test_shopifys_own_parameters_are_added(storefront, target):
    visit(storefront)
    own = dict(parameters(target.requests[0]))
    assert own["shop"] == "genlook-dev.myshopify.com"
    assert own["path_prefix"] == "/apps/proxy_genlook-x"
    assert own["logged_in_customer_id"] == ""
    assert abs(int(own["timestamp"]) - time.time()) < 5


def test_the_callers_parameters_are_kept_in_their_order(storefront, target):
    visit(storefront, f"{PATH}?b=2&a=1&b=3&blank=&name=J%C3%BCrgen")
    callers = parameters(target.requests[0])[:5]
    assert callers == [("b", "2"), ("a", "1"), ("b", "3"), ("blank", ""), ("name", "Jürgen")]


def test_a_customer_can_be_logged_in_for_one_request(storefront, target):
    visit(storefront, headers={"X-Dev-Customer-Id": "123"})
    visit(storefront)
    customers = [dict(parameters(r))["logged_in_customer_id"] for r in target.requests]
    assert customers == ["123", ""]
    assert "X-Dev-Customer-Id" not in target.requests[0].headers


def test_the_method_and_path_stay_as_they_are(storefront, target):
    visit(storefront, "/apps/proxy_genlook-x/a%2Fb//c/", method="DELETE")
    assert target.requests[0].method == "DELETE"
    assert target.requests[0].url.path == "/apps/proxy_genlook-x/a%2Fb//c/"


def test_a_compressed_body_arrives_byte_for_byte(storefront, target):
    body = gzip.compress(b'{"events": []}')
    visit(storefront, body=body, headers={"Content-Encoding": "gzip"})
    assert target.requests[0].body == body
    assert target.requests[0].headers["Content-Encoding"] == "gzip"


def test_a_body_sent_in_chunks_arrives_whole(storefront, target):
    visit(storefront, body=iter([b'{"events"', b": []}"]), encode_chunked=True)
    assert target.requests[0].body == b'{"events": []}'
    assert "Transfer-Encoding" not in target.requests[0].headers


def test_a_broken_chunk_is_a_bad_request(storefront, target):
    reply = visit(storefront, body=b"-5\r\n", headers={"Transfer-Encoding": "chunked"})
    assert reply.status == 400
    assert target.requests == []


def test_a_caller_that_waits_for_100_continue_gets_it(storefront, target):
    with closing(HTTPConnection("127.0.0.1", storefront.server_port, timeout=2)) as connection:
        connection.putrequest("POST", PATH)
        connection.putheader("Content-Length", "2")
        connection.putheader("Expect", "100-continue")
        connection.endheaders()
        assert connection.sock.recv(64).startswith(b"HTTP/1.1 100 ")
        connection.send(b"{}")
        assert connection.getresponse().read() == b'{"success":true}'
    assert "Expect" not in target.requests[0].headers


def test_cookies_pass_in_neither_direction(storefront, target):
    target.answer = answering(b"{}", ("Set-Cookie", "a=1"), ("X-Kept", "yes"))
    reply = visit(storefront, headers={"Cookie": "cart=1"})
    assert "Cookie" not in target.requests[0].headers
    assert "Set-Cookie" not in reply.headers
    assert reply.headers["X-Kept"] == "yes"


def test_headers_for_one_hop_are_not_forwarded(storefront, target):
    visit(storefront, headers={"Connection": "X-Private, keep-alive", "X-Private": "1", "TE": "x"})
    assert not {"X-Private", "TE", "Keep-Alive"} & set(target.requests[0].headers)


def test_the_target_learns_whom_it_answers(storefront, target):
    visit(storefront, headers={"Host": "localhost:9292", "User-Agent": "Firefox"})
    headers = target.requests[0].headers
    assert headers["Host"] == f"127.0.0.1:{target.server_port}"
    assert headers["X-Forwarded-Host"] == "localhost:9292"
    assert headers["X-Forwarded-For"] == "127.0.0.1"
    assert headers["X-Forwarded-Proto"] == "http"
    assert headers["User-Agent"] == "Firefox"


def test_a_redirect_is_handed_on_and_not_followed(storefront, target):
    target.answer = answering(b"", ("Location", "/elsewhere"), status=302)
    reply = visit(storefront, method="GET", body=None)
    assert (reply.status, reply.headers["Location"]) == (302, "/elsewhere")
    assert len(target.requests) == 1


def test_a_head_reply_keeps_the_length_of_the_body_it_lacks(storefront, target):
    reply = visit(storefront, method="HEAD", body=None)
    assert (reply.status, reply.headers["Content-Length"], reply.body) == (200, "16", b"")


def test_a_connection_serves_one_request_after_another(storefront, target):
    with closing(HTTPConnection("127.0.0.1", storefront.server_port, timeout=10)) as connection:
        for number in range(3):
            connection.request("POST", PATH, str(number))
            socket = connection.sock
            assert connection.getresponse().read() == b'{"success":true}'
            assert connection.sock is socket
    assert [request.body for request in target.requests] == [b"0", b"1", b"2"]


def test_32_visitors_are_served_at_once(storefront, target):
    everyone = threading.Barrier(32, timeout=10)

    def answer(request):
        everyone.wait()  # nobody is answered before all have arrived
        return answering(request.body)(request)

    target.answer = answer
    bodies = [f"visitor {number}".encode() for number in range(32)]
    with ThreadPoolExecutor(32) as pool:
        replies = list(pool.map(lambda body: visit(storefront, body=body), bodies))
    assert [reply.body for reply in replies] == bodies


def test_a_target_that_is_away_is_a_bad_gateway(storefront, target):
    storefront.target = "http://127.0.0.1:1"
    reply = visit(storefront)
    assert reply.status == 502
    assert json.loads(reply.body)["code"] == "BAD_GATEWAY"


def test_paths_that_no_app_can_have_are_not_forwarded(storefront, target):
    assert visit(storefront, "/products/tshirt", method="GET", body=None).status == 404
    assert target.requests == []


def test_the_front_page_tells_what_to_send(storefront):
    page = visit(storefront, "/", method="GET", body=None).body.decode()
    assert f'curl -X POST "http://localhost:{storefront.server_port}{PATH}"' in page


def test_the_log_has_the_path_and_never_the_query(storefront, capfd):
    visit(storefront, f"{PATH}?email=shopper@example.com")
    log = ""
    while not log.endswith(" ms\n"):  # it is written after the reply
        log += capfd.readouterr().err
    assert re.fullmatch(rf"POST {PATH} 200 \d+ ms\n", log)
