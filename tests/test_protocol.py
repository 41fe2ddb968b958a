"""The shorter way must answer as gunicorn's own way would, byte by byte."""

import asyncio
import gc
import re
import time
import weakref
from itertools import pairwise
from types import SimpleNamespace

import pytest
from gunicorn.config import Config
from gunicorn.glogging import Logger
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app import protocol
from app.asgi import Server, _read
from app.loop import wait
from app.protocol import Connection
from app.replies import Reply

PATH = "/apps/proxy/public/tracking/events"
END = b"GET /end HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


class Echo:
    """An endpoint that says what it was asked, at once or a little later."""

    def answer(self, query, content_encoding, body):
        if b"wait" in query:
            wait(asyncio.sleep(0))
        if b"fault" in query:
            raise ValueError("a fault of ours")
        headers = (("Retry-After", "7"),) if b"later" in query else ()
        return Reply(
            repr((query, content_encoding, body)).encode(), 429 if headers else 200, headers
        )


class Longer(Connection):
    """Everything goes gunicorn's way."""

    def _is_idle(self):
        return False


class Transport(asyncio.Transport):
    """Keeps what is written; each piece comes when the loop has nothing else to do."""

    def __init__(self, connection):
        self.connection, self.written, self.is_open, self.is_paused = connection, b"", True, False
        connection.connection_made(self)

    def write(self, data):
        if not self.is_open:
            raise RuntimeError("closed")
        self.written += data

    def close(self):
        if self.is_open:
            self.is_open = False
            asyncio.get_running_loop().call_soon(self.connection.connection_lost, None)

    def can_write_eof(self):
        return False

    def get_extra_info(self, name, default=None):
        return ("127.0.0.1", 1) if name in ("peername", "sockname") else default

    def set_write_buffer_limits(self, high=None, low=None):
        pass

    def pause_reading(self):
        self.is_paused = True

    def resume_reading(self):
        self.is_paused = False

    def feed(self, data):
        if self.is_open:
            self.connection.data_received(data)


async def quiet():
    for _ in range(40):
        await asyncio.sleep(0)


class App(Server):
    """Ours without Flask and its threads."""

    def __init__(self):
        rules = SimpleNamespace(iter_rules=lambda _: [SimpleNamespace(rule=PATH)])
        super().__init__(SimpleNamespace(extensions={"endpoint": Echo()}, url_map=rules))

    async def __call__(self, scope, receive, send):
        if scope["method"] == "POST" and scope["path"].removesuffix("/") == PATH:
            await super().__call__(scope, receive, send)
        elif await _read(receive, 1000) is not None:
            await send({"type": "http.response.start", "status": 404, "headers": []})
            await send({"type": "http.response.body", "body": b""})


@pytest.fixture(scope="module")
def make():
    """A transport to a new connection of the class, within a running loop."""
    config = Config()
    for name, value in (("keepalive", 95), ("forwarder_headers", ""), ("workers", 1),
                        ("secure_scheme_headers", {})):  # fmt: skip
        config.set(name, value)
    log = Logger(config)

    def make(kind, **worker):
        values = {"nr": 0, "nr_conns": 0, "alive": True, "max_requests": 2**31} | worker
        values |= {"cfg": config, "log": log, "asgi": App(), "loop": asyncio.get_running_loop()}
        return Transport(kind(SimpleNamespace(state={}, **values)))

    return make


def exchange(make, kind, pieces):
    """What is written for the pieces, and whether the connection stays open."""

    async def run():
        transport = make(kind)
        for piece, is_quiet in pieces:
            transport.feed(piece)
            if is_quiet:
                await quiet()
        await quiet()
        is_open = transport.is_open
        transport.feed(END)  # a body that waits for more takes it
        await quiet()
        transport.connection.connection_lost(None)
        await quiet()
        return re.sub(rb"Date: [^\r]*", b"", transport.written), is_open

    return asyncio.run(run())


def request(*fields, path=PATH, query="shop=a", body=b"abc", version=b"1.1", length=None):
    lines = [f"POST {path}?{query} HTTP/".encode() + version, *fields]
    if length is not False:
        lines.append(b"Content-Length: %d" % (len(body) if length is None else length))
    return b"\r\n".join([*lines, b"", b""]) + body


lines = st.sampled_from(
    [
        b"Host: a", b"host:b", b"Content-Type: application/json", b"Content-Length: 3",
        b"Content-Length: 0", b"content-length: x", b"content-length:\t3 ", b"Content-Length: +3",
        b"Content-Length: 9999999999", b"Transfer-Encoding: chunked", b"transfer-encoding: gzip",
        b"Connection: close", b"Connection: Keep-Alive ", b"Connection: upgrade", b"Upgrade: h2c",
        b"Expect: 100-continue", b"Content-Encoding: GZIP ", b"content-encoding: br", b"X: ",
        b"X:\t \t", b"X:\ty z \t", b"X-Y_z: \xc3\xa4", b"X" * 4000 + b": " + b"y" * 4180,
        b"X: " + b"y" * 8186, b"X: " + b"y" * 8185, b"no colon", b": nameless", b"X : y",
        b" X: folded", b"X\x00: y", b"X: \x00", b"X: a\rb", b"X: a\nb", b"X: \x7f",
        b"\xc3\xa4: y", b"", b"\n", b"\r",
    ]
)  # fmt: skip
ends = st.sampled_from([b"\r\n"] * 8 + [b"\n", b"\r"])
starts = st.sampled_from(
    [f"POST {PATH}?{q} HTTP/1.1\r\n".encode() for q in ("", "a=b", "wait", "later&wait")] * 3
    + [
        f"POST {PATH}/ HTTP/1.1\r\n".encode(), f"POST {PATH}//?x HTTP/1.1\r\n".encode(),
        f"POST {PATH} HTTP/1.0\r\n".encode(), f"GET {PATH}?x HTTP/1.1\r\n".encode(),
        f"POST http://h{PATH}?x HTTP/1.1\r\n".encode(), f"POST {PATH}?x#y HTTP/1.1\r\n".encode(),
        f"POST {PATH}?\x7f HTTP/1.1\r\n".encode(), f"POST {PATH}?x y HTTP/1.1\r\n".encode(),
        f"\r\nPOST {PATH}?x HTTP/1.1\r\n".encode(),
        f"POST {PATH.replace('t', '%74')} HTTP/1.1\r\n".encode(),
        f"POST {PATH}?{'x' * 8200} HTTP/1.1\r\n".encode(), b"\x16\x03\x01\r\n",
    ]
)  # fmt: skip
bodies = st.sampled_from(
    [b"", b"abc", b"3\r\nabc\r\n0\r\n\r\n", b"abcGET / HTTP/1.1\r\n\r\n", b"\r\n\r\n"]
)


@st.composite
def streams(draw):
    """One request or several, in pieces; after some of them the loop comes to rest."""
    whole = b""
    for _ in range(draw(st.integers(1, 3))):
        header = b"".join(line + draw(ends) for line in draw(st.lists(lines, max_size=4)))
        if draw(st.booleans()):
            header += b"Content-Length: 3\r\n"
        whole += (
            draw(starts) + header + draw(st.sampled_from([b"\r\n", b"\r\n", b""])) + draw(bodies)
        )
    cuts = draw(st.lists(st.integers(0, len(whole)), max_size=4))
    pieces = [whole[start:end] for start, end in pairwise([0, *sorted(cuts), len(whole)])]
    return [(piece, draw(st.booleans())) for piece in pieces if piece]


@settings(max_examples=1_000, deadline=None)
@given(streams())
@example([(request(), False), (request(query="wait"), False), (request(), True)])
@example([(request(query="wait") + request(query="b") + request(), True)])
@example([(request(b"Content-Encoding: gzip"), True), (request(path="/other"), True)])
def test_the_shorter_way_answers_as_gunicorn_would(make, pieces):
    assert exchange(make, Connection, pieces) == exchange(make, Longer, pieces)


def test_plain_requests_take_the_shorter_way(make, monkeypatch):
    monkeypatch.setattr(protocol._gunicorn.ASGIProtocol, "data_received", None)
    fields = [
        b"Host: a",
        b"X-Forwarded-For: b",
        b"Content-Encoding: gzip",
        b"Connection: Keep-Alive",
    ]
    whole = request(*fields, query="wait")
    assert exchange_of_two(make, [whole, whole]) == 2
    assert exchange_of_two(make, [whole[:-2], whole[-2:] + whole[:-1], whole[-1:]]) == 2


def exchange_of_two(make, pieces):
    async def run():
        transport = make(Connection)
        for piece in pieces:
            transport.feed(piece)
            await quiet()
        return transport.written.count(b"HTTP/1.1 200 OK")

    return asyncio.run(run())


def test_a_body_that_does_not_come_is_gunicorns_after_a_while(make, monkeypatch):
    monkeypatch.setattr(protocol, "_PATIENCE", 0.01)

    async def run(rest):
        transport = make(Connection)
        transport.feed(request()[:-2])
        await asyncio.sleep(0.05)
        assert transport.connection._current_request
        rest(transport)
        await quiet()
        return transport

    def come(transport):
        transport.feed(b"bc")

    def go_away(transport):
        transport.close()

    assert b"b'abc'" in asyncio.run(run(come)).written
    assert asyncio.run(run(go_away)).written == b""


def test_who_has_said_all_gets_a_reply_and_then_the_end(make):
    async def run(data):
        transport = make(Connection)
        transport.feed(data)
        stays = transport.connection.eof_received()
        await quiet()
        return stays, transport

    stays, transport = asyncio.run(run(request(query="wait")))
    assert stays
    assert b"Connection: close" in transport.written
    assert not transport.is_open
    stays, transport = asyncio.run(run(request()[:-1]))
    assert not stays
    assert transport.written == b""


@pytest.mark.parametrize("worker", [{"alive": False}, {"max_requests": 1}])
def test_a_worker_that_stops_says_so_with_its_last_reply(make, worker):
    async def run():
        transport = make(Connection, **worker)
        transport.feed(request(query="wait"))
        await quiet()
        return transport

    transport = asyncio.run(run())
    assert b"200 OK" in transport.written
    assert b"Connection: close" in transport.written
    assert not transport.is_open
    assert not transport.connection.worker.alive


def test_a_caller_who_goes_away_costs_nothing(make):
    async def run():
        transport = make(Connection)
        transport.feed(request(query="wait"))
        transport.close()
        await quiet()
        return transport.connection

    connection = asyncio.run(run())
    assert connection.worker.nr == 1
    assert connection._keepalive_handle is None


def test_a_fault_ends_its_connection_and_no_other(make):
    async def run():
        transport = make(Connection)
        transport.feed(request(query="fault"))
        await quiet()
        other = make(Connection)
        other.feed(request())
        return transport, other

    transport, other = asyncio.run(run())
    assert not transport.is_open
    assert b"200 OK" in other.written


def test_who_sends_on_and_on_while_he_is_answered_is_made_to_wait(make):
    async def run():
        transport = make(Connection)
        transport.feed(request(query="wait"))
        for _ in range(5):
            transport.feed(b"x" * 65_536)
        was_paused = transport.is_paused
        await quiet()
        return was_paused, transport

    was_paused, transport = asyncio.run(run())
    assert was_paused
    assert not transport.is_paused
    assert b"URI_TOO_LONG" in transport.written


def test_an_idle_connection_is_closed_after_its_time(make):
    async def run():
        transport = make(Connection)
        transport.connection._keepalive = 0.05
        transport.feed(request())
        started = time.monotonic()
        while transport.is_open and time.monotonic() < started + 2:
            await asyncio.sleep(0.01)
        return transport.is_open

    assert not asyncio.run(run())


@pytest.mark.parametrize(
    "data",
    [b"", b"POST", request(), request(query="wait"), request()[:-1], request(path="/other"),
     request(b"Expect: 100-continue"), request(b"no colon"), request(b"Connection: close")],
    ids=lambda data: data[:60].decode(),
)  # fmt: skip
def test_a_connection_that_is_over_leaves_nothing_for_the_collector(make, data):
    async def run():
        transport = make(Connection)
        gone = weakref.ref(transport.connection)
        transport.feed(data)
        await quiet()
        transport.close()
        await quiet()
        transport.connection = None  # as a real one does
        return gone

    gc.collect()
    gc.disable()
    try:
        assert asyncio.run(run())() is None
    finally:
        gc.enable()
