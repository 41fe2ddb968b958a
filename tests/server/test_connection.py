"""What a caller may send over a connection, by raw sockets."""

import contextlib
import logging
import socket
import struct
import time

import pytest

from tests.calls import PATH, query
from tests.processes.running import wait_until
from tests.server.conftest import PLAIN, QUICK, post
from tests.serving import serving

SUCCESS = (200, b'{"success":true}')


def statuses(replies):
    return [status for status, _ in replies]


def test_requests_over_one_connection_are_answered_one_after_the_other(connect):
    caller = connect()
    for number in range(3):
        caller.send(post(PLAIN % number))
        assert caller.replies(1) == [SUCCESS]


def test_a_request_in_pieces_of_a_byte_is_one_request(connect):
    caller = connect()
    for byte in post():
        caller.send(bytes([byte]))
    assert caller.replies(1) == [SUCCESS]


@pytest.mark.parametrize("size", [1, 7, 1_000])
def test_a_body_in_chunks_is_taken(connect, size):
    body = PLAIN % 5
    chunks = [body[start : start + size] for start in range(0, len(body), size)]
    caller = connect()
    caller.send(post(b"", b"Transfer-Encoding: chunked", length=False))
    caller.send(b"".join(b"%x;a=b\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks))
    caller.send(b"0\r\nTrailer: x\r\n\r\n")
    assert caller.replies(1) == [SUCCESS]


def test_pipelined_requests_and_a_half_close_are_all_answered_in_order(connect):
    caller = connect()
    get = b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n"
    caller.send(post() + get + post(b"{") + get + post(PLAIN % 2))
    caller.socket.shutdown(socket.SHUT_WR)
    assert statuses(caller.replies(5)) == [200, 404, 400, 404, 200]
    assert caller.rest() == b""


def test_half_a_request_and_a_half_close_get_no_reply(connect):
    caller = connect()
    caller.send(post()[:-3])
    caller.socket.shutdown(socket.SHUT_WR)
    assert caller.rest() == b""


@pytest.mark.parametrize("offer", [b"websocket", b"h2c"])
@pytest.mark.parametrize("body", [b"", PLAIN % 7])
def test_an_offer_to_upgrade_is_a_request_like_any_other(connect, offer, body):
    fields = (b"Connection: upgrade", b"Upgrade: " + offer)
    caller = connect()
    caller.send(post(body, *fields) + post(PLAIN % 8))
    assert statuses(caller.replies(2)) == [200 if body else 400, 200]


def test_who_asks_before_sending_a_body_is_told_to_go_on(connect):
    caller = connect()
    whole = post(PLAIN % 9, b"Expect: 100-continue")
    head, _, body = whole.partition(b"\r\n\r\n")
    caller.send(head + b"\r\n\r\n")
    assert caller.socket.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
    caller.send(body)
    assert caller.replies(1) == [SUCCESS]


def test_who_asks_with_a_wrong_signature_is_refused_before_the_body(connect):
    caller = connect()
    whole = post(PLAIN % 9, b"Expect: 100-continue", signed=False)
    caller.send(whole.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
    assert statuses(caller.replies(1)) == [401]


@pytest.mark.parametrize(
    "target", ["/webhooks", "/app/api/settings", "/nowhere", "/healthz", "/app/api/report"]
)
def test_other_routes_refuse_by_the_head_and_keep_nothing_of_the_body(connect, target):
    method = b"PUT" if target.endswith("settings") else b"POST"
    caller = connect()
    head = b"%b %b HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n"
    caller.send(head % (method, target.encode()))
    [(status, _)] = caller.replies(1)
    assert status in (401, 404, 405)


def test_what_is_sent_after_an_early_reply_is_thrown_away_and_the_reply_arrives(connect):
    caller = connect()
    caller.send(post(b"x" * 3_000_000, signed=False))
    received = caller.rest()
    assert received.startswith(b"HTTP/1.1 401 ")
    assert b"Connection: close" in received
    assert b"<reset>" not in received


def test_who_sends_on_and_on_after_an_early_reply_is_cut_off(app):
    with (
        serving(app, QUICK._replace(lingering=60)) as server,
        socket.create_connection(server.address, timeout=10) as caller,
    ):
        caller.sendall(post(b"", b"Content-Length: 99999999", signed=False, length=False))
        assert b" 401 " in caller.recv(65_536)
        with pytest.raises(ConnectionError):
            caller.sendall(b"a" * 30_000_000)


def test_a_signed_body_beyond_its_limit_is_refused_and_not_kept(connect):
    caller = connect()
    caller.send(post(b"x" * 2_000_000))
    received = caller.rest()
    assert received.startswith(b"HTTP/1.1 413 ")
    assert b"PAYLOAD_TOO_LARGE" in received


@pytest.mark.parametrize(
    ("field", "body"),
    [
        (b"Content-Length: " + b"9" * 5_000, b""),
        (b"Content-Length: +3", b"abc"),
        (b"Content-Length: -3", b"abc"),
        (b"Content-Length:", b""),
        (b"Content-Length: 3\r\nContent-Length: 4", b"abc"),
        (b"Content-Length: 3\r\nTransfer-Encoding: chunked", b"abc"),
        (b"Transfer-Encoding: chunked", b"zz\r\nabc\r\n0\r\n\r\n"),
        (b"Transfer-Encoding: chunked", b"-3\r\nabc\r\n0\r\n\r\n"),
        (b"no colon", b""),
        (b"X : y", b""),
        (b"X: a\x00b", b""),
        (b"X: y\r\n folded", b""),
    ],
)
def test_what_is_no_http_is_refused_in_json_and_one_line_of_the_log(connect, caplog, field, body):
    caplog.set_level(logging.INFO)
    caller = connect()
    caller.send(post(body, field, length=False))
    received = caller.rest()
    assert received.startswith(b"HTTP/1.1 400 ")
    assert b'"code":"BAD_REQUEST"' in received
    assert b"Cache-Control: private, no-store" in received
    lines = [record for record in caplog.records if record.action == "bad_request"]
    assert len(lines) == 1
    assert not any(record.exc_info for record in caplog.records)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (post(target="/" + "x" * 8_190), 414),
        (b"GET /" + b"x" * 80_000, 414),
        (post(PLAIN % 1, b"X: " + b"y" * 8_190), 431),
        (post(PLAIN % 1, *[b"X%d: y" % number for number in range(100)]), 431),
        (post(PLAIN % 1, *[b"X%d: " % number + b"y" * 7_000 for number in range(12)]), 431),
        (b"GET / HTTP/1.1\r\nX: " + b"y" * 80_000, 431),
        (b"\x16\x03\x01\x02\x00\x01", 400),
        (b"GET / HTTP/3.0\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    ],
)
def test_lines_and_heads_have_their_limits(connect, data, status):
    caller = connect()
    caller.send(data)
    assert caller.rest().startswith(b"HTTP/1.1 %d " % status)


def test_a_line_and_a_field_at_their_limit_pass(connect):
    caller = connect()
    caller.send(post(PLAIN % 1, b"X: " + b"y" * 8_180, *[b"X%d: y" % n for n in range(90)]))
    assert caller.replies(1) == [SUCCESS]


def test_what_stands_between_the_pieces_of_a_body_is_bounded(connect):
    caller = connect()
    caller.send(post(b"", b"Transfer-Encoding: chunked", length=False))
    caller.send(b"1;" + b"x" * 200_000)
    assert caller.rest().startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("is_chunked", [False, True], ids=["with a length", "chunked"])
def test_a_body_that_stalls_is_over_after_its_time(connect, is_chunked):
    chunk = post(b"", b"Transfer-Encoding: chunked", length=False) + b"5\r\nab"
    caller = connect()
    started = time.monotonic()
    caller.send(chunk if is_chunked else post()[:-3])
    received = caller.rest()
    assert received.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"REQUEST_TIMEOUT"' in received
    assert 0.4 < time.monotonic() - started < 3


def test_a_body_that_trickles_has_no_more_time_than_another(connect):
    caller = connect()
    started = time.monotonic()
    caller.send(post(b"x" * 1_000)[:-1_000])
    received = b""
    caller.socket.settimeout(0.05)
    while not received and time.monotonic() - started < 5:
        try:
            caller.send(b"x")
            received = caller.socket.recv(1000)
        except TimeoutError:
            continue
    assert received.startswith(b"HTTP/1.1 408 ")
    assert time.monotonic() - started < 3


@pytest.mark.parametrize(
    ("data", "start"), [(b"", b""), (b"POST /a HTTP/1.1\r\nHost", b"HTTP/1.1 408 ")]
)
def test_a_head_that_never_ends_or_begins_is_over_after_its_time(connect, data, start):
    caller = connect()
    started = time.monotonic()
    caller.send(data)
    received = caller.rest()
    assert received[: len(start) or None] == start
    assert 0.4 < time.monotonic() - started < 3


def test_a_head_that_trickles_has_no_more_time_than_another(connect, served):
    caller = connect()
    started = time.monotonic()
    caller.socket.settimeout(0.05)
    received = b""
    while not received and time.monotonic() - started < 5:
        try:
            caller.send(b"G" if time.monotonic() == started else b"")
            caller.send(b"\r\n")
            received = caller.socket.recv(1000) or b"<closed>"
        except TimeoutError:
            continue
        except OSError:
            break
    assert time.monotonic() - started < 3


@pytest.mark.slow
def test_an_idle_connection_is_kept_longer_than_a_silent_one(connect):
    caller = connect()
    caller.send(post())
    caller.replies(1)
    started = time.monotonic()
    assert caller.rest() == b""
    assert 1.0 < time.monotonic() - started < 4


def test_connections_that_are_reset_at_once_leave_no_traceback(served, caplog):
    for data in (b"", b"GET / HTTP/1.1\r\n\r\n", post(), post()[:-3]):
        for _ in range(20):
            caller = socket.create_connection(served.address)
            caller.sendall(data)
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            caller.close()
    deadline = time.monotonic() + 5
    while served.connections and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not served.connections
    assert not any(record.exc_info for record in caplog.records)


@pytest.mark.slow
def test_a_caller_that_takes_no_reply_is_let_go(connect, served):
    caller = connect()
    target = f"{PATH.replace('tracking/events', 'tracker.js')}?{query()}"  # some 10 kB each
    caller.socket.settimeout(0.3)
    with contextlib.suppress(OSError):
        caller.send(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode() * 1_500)
    deadline = time.monotonic() + 30
    while served.connections and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not served.connections


@pytest.mark.slow
@pytest.mark.parametrize("fields", [b"Connection: close", b"X: y"])
def test_a_caller_that_leaves_the_last_of_a_reply_is_let_go(app, fields):
    target = f"{PATH.replace('tracking/events', 'tracker.js')}?{query()}".encode()
    with serving(app, QUICK, send_buffer=4096) as served, socket.socket() as caller:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        caller.connect(served.address)
        request = b"GET %b HTTP/1.1\r\nHost: a\r\n" % target
        caller.sendall((request + b"\r\n") * 2 + request + fields + b"\r\n\r\n")
        wait_until(lambda: served.answered == 3)
        wait_until(lambda: not served.connections)


def test_http_1_0_is_answered_and_closed(connect):
    caller = connect()
    caller.send(b"GET /healthz HTTP/1.0\r\n\r\n")
    received = caller.rest()
    assert received.startswith(b"HTTP/1.1 200 ")
    assert received.endswith(b'{"status":"ok"}')


def test_http_1_0_is_kept_where_the_caller_asks_for_it(connect):
    caller = connect()
    for _ in range(2):
        caller.send(b"GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert statuses(caller.replies(1)) == [200]


def test_a_reply_to_head_has_no_body(connect):
    caller = connect()
    caller.send(b"HEAD /healthz HTTP/1.1\r\nHost: a\r\n\r\nGET /nowhere HTTP/1.0\r\n\r\n")
    first, _, second = caller.rest().partition(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 200 ")
    assert second.startswith(b"HTTP/1.1 404 ")


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"CONNECT a:80 HTTP/1.1", 404),
        (b"OPTIONS * HTTP/1.1", 404),
        (b"GET http://shop.example/healthz HTTP/1.1", 200),
    ],
)
def test_other_forms_of_an_address_are_answered(connect, line, status):
    caller = connect()
    caller.send(line + b"\r\nHost: a\r\nConnection: close\r\n\r\n")
    received = caller.rest()
    assert received.startswith(b"HTTP/1.1 %d " % status)
    assert b"private, no-store" in received
