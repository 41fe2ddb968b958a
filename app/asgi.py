"""The app as gunicorn's ASGI worker calls it.

Requests of the endpoint run on the event loop (see loop.py), all others on threads, where they may
block as in every Flask app.
Source: https://asgi.readthedocs.io/en/latest/specs/www.html
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any
from urllib.parse import unquote_to_bytes

from flask import Flask

from app import create_app as create_flask_app
from app import loop
from app.tracking.body import WIRE_LIMIT
from config.settings import Settings

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_DRAIN = 4 * 1024 * 1024  # bytes


def create_app() -> "Server":
    """What gunicorn serves. SettingsError where the environment is not complete."""
    app = create_flask_app()
    settings: Settings = app.extensions["settings"]
    return Server(app, threads=settings.web_threads)


class Server:
    def __init__(self, app: Flask, *, threads: int) -> None:
        """`threads` for what blocks, of the endpoint and of all other requests."""
        self.app = app
        self._threads = threads
        self._has_threads = False  # not before gunicorn's fork
        self._on_loop = frozenset(
            rule.rule for rule in app.url_map.iter_rules("tracking.receive_events")
        )

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise ValueError(f"{scope['type']} is not served here")
        running = asyncio.get_running_loop()
        if not self._has_threads:
            running.set_default_executor(ThreadPoolExecutor(self._threads, "request"))
            self._has_threads = True
        body = await _read(receive)
        if body is None:
            return  # the caller went away
        environ = _environ(scope, body)
        if environ["PATH_INFO"].rstrip("/") in self._on_loop and scope["method"] == "POST":
            head, chunks = await loop.run(lambda: self._respond(environ))
            await send(head)
            await send({"type": "http.response.body", "body": b"".join(chunks)})
        else:
            await running.run_in_executor(None, self._stream, environ, send, running)

    def _respond(self, environ: dict[str, Any]) -> tuple[Message, Iterable[bytes]]:
        head: Message = {"type": "http.response.start"}

        def start_response(status: str, headers: list[tuple[str, str]], _: Any = None) -> None:
            head["status"] = int(status[:3])
            head["headers"] = [
                (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers
            ]

        return head, self.app.wsgi_app(environ, start_response)  # type: ignore[arg-type]

    def _stream(
        self, environ: dict[str, Any], send: Send, running: asyncio.AbstractEventLoop
    ) -> None:
        """On a thread: hand the reply on piece by piece, as fast as the caller takes it."""

        def hand_on(message: Message) -> None:
            asyncio.run_coroutine_threadsafe(_send(send, message), running).result()

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


async def _send(send: Send, message: Message) -> None:
    await send(message)


async def _read(receive: Receive) -> bytes | None:
    """The body as sent, or a little more of it than is allowed; None where it broke off."""
    message = await receive()
    body: bytes = message.get("body", b"")
    unread = WIRE_LIMIT + _DRAIN  # who still sends does not listen: take some of the rest
    while message.get("more_body"):
        message = await receive()
        chunk = message.get("body", b"")
        if len(body) <= WIRE_LIMIT:
            body += chunk
        unread -= len(chunk)
        if unread < 0:
            return body
    return None if message["type"] == "http.disconnect" else body


def _environ(scope: Message, body: bytes) -> dict[str, Any]:
    """As WSGI has it: https://peps.python.org/pep-3333/#environ-variables"""
    path = scope["raw_path"].partition(b"?")[0]
    if b"%" in path:
        path = unquote_to_bytes(path)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": path.decode("latin-1"),
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
