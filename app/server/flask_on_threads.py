"""Flask, on threads, where it may block.

A route is called as soon as the head of its request is there. Where it reads the body and that has
not come whole, the call is given up, the connection reads as many bytes as the route allows, and
Flask is called again: so a route that refuses by the head alone costs no memory, and a body that
trickles in costs no thread. Routes must change nothing before they read.
Source: https://peps.python.org/pep-3333/
"""

import asyncio
import logging
from collections.abc import Iterable
from concurrent.futures import Executor, Future
from functools import partial
from io import BytesIO, RawIOBase
from typing import TYPE_CHECKING, Any

from flask import Flask, current_app
from flask import request as flask_request

from app.metrics import ROUTE
from app.server import rendering
from app.server.request import UNKNOWN, Request

if TYPE_CHECKING:
    from app.server.connection import Connection

logger = logging.getLogger(__name__)

_NO_BODY = (204, 304)


class _BodyWanted(BaseException):
    """Not an Exception: no route may take it for a fault of its own."""

    def __init__(self, limit: int) -> None:
        self.limit = limit


class _NotHere(RawIOBase):
    """The body of a request that has not come whole."""

    def readable(self) -> bool:
        return True

    def readinto(self, _: object) -> int:
        limit = flask_request.max_content_length or current_app.config["MAX_CONTENT_LENGTH"]
        raise _BodyWanted(limit)


class FlaskOnThreads:
    def __init__(self, app: Flask, loop: asyncio.AbstractEventLoop, threads: Executor) -> None:
        self._app, self._loop, self._threads = app, loop, threads

    def answer(self, request: Request, connection: "Connection") -> None:
        """Begin to answer; the connection is told how it goes on."""
        environ = _environ(request, connection)
        self._threads.submit(self._answer, environ, request, connection)

    def _answer(self, environ: dict[str, Any], request: Request, connection: "Connection") -> None:
        """On a thread."""
        tell = self._loop.call_soon_threadsafe
        try:
            whole = self._respond(environ, request, connection)
        except _BodyWanted as wanted:
            tell(connection.want_body, request, wanted.limit)
        except BaseException as error:  # noqa: BLE001  # Flask has answered its own
            tell(connection.break_off, request, error)
        else:
            if whole is not None:
                tell(partial(connection.finish, request, whole[0], is_last=whole[1]))

    def _respond(
        self, environ: dict[str, Any], request: Request, connection: "Connection"
    ) -> tuple[bytes, bool] | None:
        """The reply, and whether the connection ends with it; None where it comes in pieces, which
        has begun."""
        status, fields = 500, list[tuple[str, str]]()

        def start_response(line: str, sent: list[tuple[str, str]], _: Any = None) -> None:
            nonlocal status, fields
            status, fields = int(line[:3]), sent

        pieces: Iterable[bytes] = self._app.wsgi_app(environ, start_response)  # type: ignore[arg-type]
        request.status, request.route = status, environ.get(ROUTE, UNKNOWN)
        has_body = request.method != b"HEAD" and status not in _NO_BODY
        is_whole = not has_body or any(name.lower() == "content-length" for name, _ in fields)
        is_last = connection.is_last(request)
        if is_whole:
            try:
                body = b"".join(pieces) if has_body else b""
            finally:
                _close(pieces)
            return self._head(status, fields, request, connection, is_last) + body, is_last
        is_chunked = request.version == "1.1"
        if is_chunked:
            fields = [*fields, ("Transfer-Encoding", "chunked")]
        else:
            is_last = True
        stream = _Stream(self._loop, self._threads, pieces, request, connection, is_last=is_last)
        stream.begin(self._head(status, fields, request, connection, is_last))
        return None

    @staticmethod
    def _head(
        status: int,
        fields: list[tuple[str, str]],
        request: Request,
        connection: "Connection",
        is_last: bool,
    ) -> bytes:
        return rendering.head(
            status, fields, date=connection.date, version=request.version, is_last=is_last
        )


class _Stream:
    """A reply in pieces, each made on a thread once the one before it is taken: a caller who takes
    slowly costs none. The connection ends one who takes nothing."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        threads: Executor,
        pieces: Iterable[bytes],
        request: Request,
        connection: "Connection",
        *,
        is_last: bool,
    ) -> None:
        self._loop, self._threads = loop, threads
        self._pieces, self._rest = pieces, filter(None, pieces)
        self._request, self._connection = request, connection
        self._is_chunked, self._is_last = request.version == "1.1", is_last

    def begin(self, head: bytes) -> None:
        self._hand_on(head)

    def _hand_on(self, data: bytes) -> None:
        taken: Future[None] = Future()
        taken.add_done_callback(self._taken)
        self._loop.call_soon_threadsafe(self._connection.write_piece, data, taken)

    def _taken(self, taken: "Future[None]") -> None:
        """On the loop."""
        gone = taken.exception()
        try:
            self._threads.submit(*((self._give_up, gone) if gone else (self._go_on,)))
        except RuntimeError:  # the process ends
            _close(self._pieces)

    def _go_on(self) -> None:
        tell = self._loop.call_soon_threadsafe
        try:
            piece = next(self._rest, None)
            if piece is None:
                _close(self._pieces)
        except BaseException as error:  # noqa: BLE001  # in the middle of a reply
            _close(self._pieces)
            tell(self._connection.break_off, self._request, error)
            return
        if piece is None:
            last = b"0\r\n\r\n" if self._is_chunked else b""
            tell(partial(self._connection.finish, self._request, last, is_last=self._is_last))
        else:
            self._hand_on(b"%x\r\n%b\r\n" % (len(piece), piece) if self._is_chunked else piece)

    def _give_up(self, gone: BaseException) -> None:
        logger.info("a reply was not taken", extra={"action": "gone", "cause": str(gone)})
        _close(self._pieces)
        self._loop.call_soon_threadsafe(self._connection.abort)


def _close(pieces: Iterable[bytes]) -> None:
    close = getattr(pieces, "close", None)
    if close:
        close()


def _environ(request: Request, connection: "Connection") -> dict[str, Any]:
    is_whole = request.is_complete or request.is_too_large
    host, port = connection.local
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method.decode("latin-1"),
        "SCRIPT_NAME": "",
        "PATH_INFO": request.path,
        "QUERY_STRING": request.query.decode("latin-1"),
        "SERVER_NAME": host,
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": f"HTTP/{request.version}",
        "REMOTE_ADDR": connection.peer,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(request.body) if is_whole else _NotHere(),
        "wsgi.input_terminated": True,
        "wsgi.errors": None,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in request.fields:
        key = name.decode("latin-1").upper().replace("-", "_")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = f"HTTP_{key}"
        text = value.decode("latin-1")
        environ[key] = f"{environ[key]},{text}" if key in environ else text
    return environ
