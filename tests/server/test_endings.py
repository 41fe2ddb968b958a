"""Connections that end in the middle, and replies that end with theirs."""

import contextlib
import threading
import time
from contextlib import closing

import pytest
from flask import Response

from app.server.server import TimeLimits
from tests.processes.running import wait_until
from tests.server.conftest import PLAIN, QUICK, Caller, post
from tests.serving import serving


def test_who_connects_while_it_stops_is_let_go_at_once(served, connect):
    busy = connect()
    busy.send(post()[:-3])
    wait_until(lambda: served.connections)
    served.loop.call_soon_threadsafe(served.stop)
    wait_until(lambda: served.is_stopping)
    began = time.monotonic()
    assert connect().rest() in (b"", b"<reset>")
    assert time.monotonic() - began < QUICK.head / 2


def test_a_fault_of_ours_ends_the_connection_and_is_said(served, connect, caplog, monkeypatch):
    async def fail(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(served.endpoint, "take", fail)
    caller = connect()
    caller.send(post())
    assert caller.rest() in (b"", b"<reset>")
    [record] = [one for one in caplog.records if getattr(one, "action", "") == "broken_off"]
    assert record.levelname == "ERROR"
    assert record.exc_info[0] is ZeroDivisionError
    wait_until(lambda: not served.connections)
    assert not served.is_busy  # nothing counts as on its way


def test_a_route_that_ends_its_thread_ends_the_connection_and_is_said(app, caplog):
    def view():
        raise KeyboardInterrupt

    app.add_url_rule("/ends", "ends", view)
    with serving(app, QUICK) as server, closing(Caller(server).socket) as caller:
        caller.sendall(b"GET /ends HTTP/1.1\r\nHost: a\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert caller.recv(1_000) == b""
        wait_until(lambda: not server.connections)
    assert "broken_off" in [getattr(record, "action", "") for record in caplog.records]


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_reply_in_pieces_is_chunked_for_who_knows_chunks_and_ended_by_the_end_else(app, version):
    closed = []

    def pieces():
        try:
            yield from (b"one", b"", b"two")
        finally:
            closed.append(True)

    app.add_url_rule("/pieces", "pieces", lambda: Response(pieces()))
    with serving(app, QUICK) as server, closing(Caller(server).socket) as caller:
        head = "GET /pieces HTTP/{}\r\nHost: a\r\nConnection: {}\r\n\r\n"
        kept = "keep-alive" if version == "1.0" else "close"
        caller.sendall(head.format(version, kept).encode())
        received = b""
        while piece := caller.recv(65_536):
            received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    assert body == (b"onetwo" if version == "1.0" else b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")
    assert (b"Transfer-Encoding: chunked" in head) == (version == "1.1")
    assert b"keep-alive" not in head
    assert closed == [True]


@pytest.mark.slow
def test_who_has_taken_all_there_is_has_no_time_limit_while_the_next_piece_is_made(app):
    """However long that takes: it is we who are slow."""
    large, is_due = b"x" * 16 * 1024 * 1024, threading.Event()

    def pieces():
        yield large
        is_due.wait(10)
        yield b"end"

    app.add_url_rule("/slow", "slow", lambda: Response(pieces()))
    with serving(app, QUICK) as server, closing(Caller(server).socket) as caller:
        caller.sendall(b"GET /slow HTTP/1.0\r\n\r\n")
        received = 0
        while received < len(large):
            received += len(caller.recv(1024 * 1024))
        time.sleep(QUICK.taking + 0.5)
        is_due.set()
        last = b""
        while piece := caller.recv(1_000):
            last += piece
    assert last.endswith(b"end")


def test_stopping_closes_idle_connections_and_finishes_what_has_begun(connect, served):
    idle, half = connect(), connect()
    idle.send(post())
    idle.replies(1)
    whole = post(PLAIN % 3)
    half.send(whole[:-5])
    time.sleep(0.1)
    served.loop.call_soon_threadsafe(served.stop)
    assert idle.rest() == b""
    half.send(whole[-5:])
    received = half.rest()
    assert received.startswith(b"HTTP/1.1 200 ")
    assert b"Connection: close" in received


def test_a_reply_that_fails_in_the_middle_does_not_look_whole(app, caplog):
    def pieces():
        yield b"one"
        raise ZeroDivisionError

    app.add_url_rule("/breaks", "breaks", lambda: Response(pieces()))
    with serving(app, QUICK) as server, closing(Caller(server).socket) as caller:
        caller.sendall(b"GET /breaks HTTP/1.1\r\nHost: a\r\n\r\n")
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := caller.recv(65_536):
                received += piece
    assert b"3\r\none\r\n" in received
    assert not received.endswith(b"0\r\n\r\n")
    assert "broken_off" in [getattr(record, "action", "") for record in caplog.records]


def test_callers_who_take_slowly_cost_no_thread(app):
    closed = []

    def endless():
        try:
            while True:
                yield b"x" * 100_000
        finally:
            closed.append(True)

    app.add_url_rule("/endless", "endless", lambda: Response(endless()))
    app.add_url_rule("/short", "short", lambda: Response("short"))
    with serving(app, TimeLimits(taking=20.0)) as server:
        slow = [Caller(server) for _ in range(12)]  # more than there are threads
        for caller in slow:
            caller.send(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n")
            assert caller.socket.recv(1_000)
        time.sleep(0.5)  # until their buffers are full
        with closing(Caller(server).socket) as other:
            other.settimeout(3)
            other.sendall(b"GET /short HTTP/1.1\r\nHost: a\r\n\r\n")
            assert other.recv(1_000).endswith(b"short")
        taken = 0
        while taken < 20_000_000:  # and each goes on where its caller does
            taken += len(slow[0].socket.recv(1_000_000))
        for caller in slow:
            caller.socket.close()
        wait_until(lambda: len(closed) == len(slow))


def test_in_the_end_whatever_is_open_is_aborted(served, connect):
    callers = [connect(), connect()]
    callers[0].send(post(PLAIN % 1))
    callers[0].replies(1)
    callers[1].send(b"POST /half HTTP/1.1\r\n")
    assert served.is_busy
    began = time.monotonic()
    served.loop.call_soon_threadsafe(served.abort)
    for caller in callers:
        assert caller.rest() in (b"", b"<reset>")
    assert time.monotonic() - began < QUICK.head
    wait_until(lambda: not served.is_busy)
