"""A connection to a caller: gunicorn's own, with a shorter way for what nearly all of them send.

A request of the endpoint in plain form is answered where it was received, without the tasks, queues
and message dictionaries of ASGI, which cost as much as all that is done for it. Whatever else there
is, and every fault, goes gunicorn's way.

There are no settings for any of this; gunicorn is pinned to a major version, and tests hold each
part of it. Source: gunicorn/asgi/protocol.py, gunicorn/workers/gasgi.py.
"""

import asyncio
import re
from functools import cache, lru_cache, partial
from http import HTTPStatus
from typing import Any, NamedTuple

from gunicorn.asgi import protocol
from gunicorn.workers import gasgi

from app import loop
from app.replies import HEADERS, Reply, envelope
from app.tracking.body import WIRE_LIMIT

# A request's head without anything that gunicorn would refuse or treat in a way of its own.
# Source: RFC 9112, 3 and 5; RFC 9110, 5.1 and 5.5.
_HEAD = re.compile(
    rb"POST (/[\x21-\x7e]*) HTTP/1\.1\r\n"
    rb"((?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[^\x00-\x08\x0a-\x1f\x7f]*\r\n)+)\r\n"
)
_FIELD = re.compile(rb"([^:]+):([^\r]*)\r\n")
_LONGEST_HEAD = 8190  # bytes; gunicorn's limit for the request line, and for each field
_ANOTHER_WAY = frozenset((b"transfer-encoding", b"expect", b"upgrade"))
_PATIENCE = 1.0  # s for the rest of a body; then gunicorn waits for it
_COMMON_HEADERS = "".join(
    f"{name}: {value}\r\n"
    for name, value in {"Content-Type": "application/json", **HEADERS}.items()
)


class _Head(NamedTuple):
    query: bytes
    content_encoding: str
    body_at: int  # bytes from the request's beginning
    end: int


# Whose insides are in no type stub.
_gunicorn: Any = protocol
_worker: Any = gasgi


def install() -> None:
    _worker.ASGIProtocol = Connection


class Connection(_gunicorn.ASGIProtocol):  # type: ignore[misc]
    _task: Any

    def __init__(self, worker: Any) -> None:
        super().__init__(worker)
        self._is_answering = False
        self._head: _Head | None = None  # of a request whose body has not come whole
        self._held = bytearray()  # that request, or what came while another was answered
        self._patience: Any = None

    def data_received(self, data: bytes) -> None:
        if self._is_answering:
            self._held += data
            if len(self._held) > self._max_buffer_size:
                self._pause_reading()
        elif self._head:
            self._held += data
            if len(self._held) >= self._head.end:
                self._answer_held(self._head)
        elif not self._is_idle() or not (head := self._read_head(data)) or len(data) > head.end:
            super().data_received(data)
        elif len(data) == head.end:
            self._answer(head, data)
        else:
            self._cancel_keepalive_timer()
            self._head = head
            self._held += data
            self._patience = self.worker.loop.call_later(_PATIENCE, self._hand_over)

    def eof_received(self) -> bool:
        """Who has said all and still listens gets a reply; asyncio would close the connection."""
        self._hand_over()
        self._keepalive = False
        body = self._body_receiver
        is_under_way = self._current_request is not None and (body is None or body._complete)
        return self._is_answering or is_under_way

    def connection_lost(self, exc: Exception | None) -> None:
        """And leave nothing behind: what refers to itself waits long for the garbage collector."""
        self._hand_over()
        task = self._task
        if task is not None:
            task.add_done_callback(self._let_go)
            if self._current_request is None:  # the task waits for the next one
                self._request_ready.set()
                self._task = None  # which gunicorn would look after for three seconds
        super().connection_lost(exc)

    def _let_go(self, _: object) -> None:
        self._callback_parser = self._body_receiver = None

    def _is_idle(self) -> bool:
        """Whether a request may begin here, and its reply be written."""
        parser = self._callback_parser
        return (
            self._current_request is None
            and parser is not None
            and parser._state == "request_line"
            and not parser._buffer
            and not self._closed
            and not self._flow_control.write_paused
        )

    def _read_head(self, data: bytes) -> _Head | None:
        found = _HEAD.match(data, 0, _LONGEST_HEAD)
        if found is None:
            return None
        path, _, query = found[1].partition(b"?")
        lines = found[2].lower()
        fields: dict[bytes, bytes] = dict(_FIELD.findall(lines))
        length = fields.get(b"content-length", b"").strip(b" \t")
        if (
            path.decode() not in self.app.endpoint_paths
            or len(fields) != lines.count(b"\n")  # one came twice
            or len(fields) > self.cfg.limit_request_fields
            or not _ANOTHER_WAY.isdisjoint(fields)
            or fields.get(b"connection", b"keep-alive").strip(b" \t") != b"keep-alive"
            or not length.isdigit()
            or int(length) > WIRE_LIMIT
        ):
            return None
        encoding = fields.get(b"content-encoding", b"").strip(b" \t").decode("latin-1")
        return _Head(query, encoding, found.end(), found.end() + int(length))

    def _answer_held(self, head: _Head) -> None:
        data = self._take_held()
        self._answer(head, data[: head.end])
        if len(data) > head.end:
            self.data_received(data[head.end :])

    def _hand_over(self) -> None:
        """What has begun and may never be whole is gunicorn's."""
        if self._head:
            super().data_received(self._take_held())

    def _take_held(self) -> bytes:
        if self._head:
            self._patience.cancel()
        data = bytes(self._held)
        self._held.clear()
        self._head = None
        return data

    def _answer(self, head: _Head, data: bytes) -> None:
        self._is_answering = True
        self._cancel_keepalive_timer()
        body = data[head.body_at :]
        call = partial(self.app.endpoint.answer, head.query, head.content_encoding, body)
        loop.start(call, self._reply)

    def _reply(self, reply: Reply | None, failure: BaseException | None) -> None:
        self._is_answering = False
        self.worker.nr += 1
        if self.worker.nr >= self.worker.max_requests:
            self.worker.alive = False
        if self._closed:
            return  # the caller went away
        is_last = reply is None or not (self._keepalive and self.worker.alive)
        if reply is None:
            self.log.error("a request was broken off", exc_info=failure)
        else:
            self._safe_write(_rendered(reply, is_last))
        if is_last:
            self._close_transport()
            self._request_ready.set()  # for the task that waits for the next request
            return
        self._arm_keepalive_timer()
        if self._held:
            self._resume_reading()
            self.data_received(self._take_held())

    def _is_websocket_upgrade(self, _: Any) -> bool:
        """Never: a request that offers an upgrade is a request like any other (RFC 9110, 7.8)."""
        return False

    def _send_error_response(self, status: int, *_: Any) -> None:
        """gunicorn answers what it cannot read with plain text, some of it with 501."""
        status = 400 if status == 501 else status
        code = HTTPStatus(status).phrase.upper().replace(" ", "_")
        body = envelope(code, "The request is not valid HTTP.")
        self._safe_write(_rendered(Reply(body, status), is_last=True))


@cache
def _status_line(status: int) -> bytes:
    reason = _gunicorn._REASON_PHRASES.get(status) or HTTPStatus(status).phrase
    return f"HTTP/1.1 {status} {reason}\r\n".encode()


def _rendered(reply: Reply, is_last: bool) -> bytes:
    return b"%bContent-Length: %d\r\n%bServer: gunicorn/asgi\r\n%b%b\r\n%b" % (
        _status_line(reply.status),
        len(reply.body),
        _fields(reply.headers),
        _gunicorn._get_cached_date_header(),
        b"Connection: close\r\n" if is_last else b"",
        reply.body,
    )


@lru_cache(maxsize=100)
def _fields(headers: tuple[tuple[str, str], ...]) -> bytes:
    own = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return (_COMMON_HEADERS + own).encode("latin-1")


async def listen(worker: Any) -> None:
    """gunicorn's `backlog` again: asyncio has made 100 of it, and whoever connects while so many
    wait is heard a second later."""
    while not worker.servers:
        await asyncio.sleep(0)
    for listener in worker.sockets:
        listener.sock.listen(worker.cfg.backlog)
