"""Connections that end in the middle, and replies that end with theirs."""

import contextlib
import time
from contextlib import closing

import pytest
from flask import Response

from tests.processes.running import wait_until
from tests.server.conftest import QUICK, Caller, post
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
