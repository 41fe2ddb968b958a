"""The app as gunicorn's ASGI worker calls it (config/gunicorn.py).

The endpoint's requests that have not taken the shorter way (app/protocol.py) run on the event loop,
each in a greenlet (app/loop.py); all others go through Flask, on threads, where they may block.
Source: https://asgi.readthedocs.io/en/latest/specs/www.html
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Coroutine, Iterable, MutableMapping
from functools import partial
from io import BytesIO
from typing import Any
from urllib.parse import unquote_to_bytes

from flask import Flask

from app import loop
from app.replies import HEADERS, Reply
from app.tracking.body import WIRE_LIMIT
from app.tracking.endpoint import Endpoint

logger = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_LIMIT = 4 * 1024 * 1024  # bytes of any other request; its route may allow less
_DRAIN = 4 * 1024 * 1024  # bytes
_STALLED = 60  # s
_ORIGIN = re.compile(rb"^https?://[^/]*", re.IGNORECASE)  # RFC 9112, 3.2.2


class Server:
    def __init__(self, app: Flask) -> None:
        self.app = app
        self.endpoint: Endpoint = app.extensions["endpoint"]
        rules = {rule.rule for rule in app.url_map.iter_rules("tracking.receive_events")}
        self.endpoint_paths = {rule + slash for rule in rules for slash in ("", "/")}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise ValueError(f"{scope['type']} is not served here")
        running = asyncio.get_running_loop()
        path = _path(scope)
        is_endpoint = scope["method"] == "POST" and path in self.endpoint_paths
        body = await _read(receive, WIRE_LIMIT if is_endpoint else _LIMIT)
        if body is None:
            return  # the caller went away
        if is_endpoint:
            encoding = b",".join(
                [v for k, v in scope["headers"] if k == b"content-encoding"]
            ).lower()
            reply = await loop.run(
                partial(
                    self.endpoint.answer, scope["query_string"], encoding.decode("latin-1"), body
                )
            )
            await send(_head(reply))
            await send({"type": "http.response.body", "body": reply.body})
        else:
            environ = _environ(scope, path, body)
            gone = asyncio.ensure_future(_end(receive))
            hand_on = partial(_hand_on, send, gone)
            try:
                await running.run_in_executor(None, self._stream, environ, hand_on, running)
            except _GoneAwayError as error:
                logger.info("a reply was not taken", extra={"action": "gone", "cause": str(error)})
            finally:
                gone.cancel()

    def _respond(self, environ: dict[str, Any]) -> tuple[Message, Iterable[bytes]]:
        head: Message = {"type": "http.response.start"}

        def start_response(status: str, headers: list[tuple[str, str]], _: Any = None) -> None:
            head["status"] = int(status[:3])
            head["headers"] = _encoded(headers)

        return head, self.app.wsgi_app(environ, start_response)  # type: ignore[arg-type]

    def _stream(
        self,
        environ: dict[str, Any],
        send: Callable[[Message], Coroutine[Any, Any, None]],
        running: asyncio.AbstractEventLoop,
    ) -> None:
        """On a thread: hand the reply on piece by piece, as fast as the caller takes it."""

        def hand_on(message: Message) -> None:
            asyncio.run_coroutine_threadsafe(send(message), running).result()

        head, chunks = self._respond(environ)
        try:
            hand_on(head)
            for chunk in chunks:
                hand_on({"type": "http.response.body", "body": chunk, "more_body": True})
            hand_on({"type": "http.response.body"})
        finally:
            close = getattr(chunks, "close", None)
            if close:
                close()


class _GoneAwayError(Exception):
    """The caller, in the middle of a reply."""


async def _end(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _hand_on(send: Send, gone: asyncio.Future[None], message: Message) -> None:
    """`send` alone would wait for ever for a caller who has gone away, or takes nothing."""
    sending = asyncio.ensure_future(send(message))
    both = {sending, gone}
    await asyncio.wait(both, timeout=_STALLED, return_when=asyncio.FIRST_COMPLETED)
    if gone.done():
        sending.cancel()
        raise _GoneAwayError("the caller went away")
    if not sending.done():
        sending.cancel()
        raise _GoneAwayError(f"nothing was taken for {_STALLED} s")
    sending.result()


async def _read(receive: Receive, limit: int) -> bytes | None:
    """The body as sent, or a little more of it than `limit` bytes; None where it broke off."""
    message = await receive()
    body: bytes = message.get("body", b"")
    unread = limit + _DRAIN  # who still sends does not listen: take some of the rest
    while message.get("more_body"):
        message = await receive()
        chunk = message.get("body", b"")
        if len(body) <= limit:
            body += chunk
        unread -= len(chunk)
        if unread < 0:
            return body
    return None if message["type"] == "http.disconnect" else body


def _path(scope: Message) -> str:
    """As WSGI has it: bytes as latin-1."""
    path: bytes = _ORIGIN.sub(b"", scope["raw_path"].partition(b"?")[0]) or b"/"
    return (unquote_to_bytes(path) if b"%" in path else path).decode("latin-1")


def _encoded(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]


_COMMON = _encoded((("Content-Type", "application/json"), *HEADERS.items()))


def _head(reply: Reply) -> Message:
    length = (b"Content-Length", b"%d" % len(reply.body))
    return {
        "type": "http.response.start",
        "status": reply.status,
        "headers": [length, *_COMMON, *_encoded(reply.headers)],
    }


def _environ(scope: Message, path: str, body: bytes) -> dict[str, Any]:
    """https://peps.python.org/pep-3333/#environ-variables"""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": scope["server"][0],
        "SERVER_PORT": str(scope["server"][1]),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "REMOTE_ADDR": scope["client"][0],
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": BytesIO(body),
        "wsgi.input_terminated": True,
        "wsgi.errors": None,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in scope["headers"]:
        key = name.decode("latin-1").upper().replace("-", "_")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = f"HTTP_{key}"
        text = value.decode("latin-1")
        environ[key] = f"{environ[key]},{text}" if key in environ else text
    return environ
