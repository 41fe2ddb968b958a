"""gunicorn's HTTP/1 protocol, where ours differs from it.

There are no settings for these; gunicorn is pinned to a major version, and process tests hold each
of them. Source: gunicorn/asgi/protocol.py and parser.py.
"""

import asyncio
import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from gunicorn.asgi import protocol
from gunicorn.asgi.parser import PythonProtocol
from gunicorn.asgi.protocol import ASGIProtocol

from app.replies import HEADERS, envelope

# What gunicorn's parser takes for a header line, character by character.
_HEADER_LINES = re.compile(
    rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[^\x00-\x08\x0a-\x1f\x7f]*\r\n)+"  # RFC 9110, 5.1 and 5.5
)


_Parser: Any = PythonProtocol  # whose inside is in no type stub


def install() -> None:
    protocol.PythonProtocol = Parser  # type: ignore[attr-defined]
    ASGIProtocol._send_error_response = _send_error_response  # type: ignore[attr-defined]
    ASGIProtocol.eof_received = _eof_received  # type: ignore[method-assign]


class Parser(_Parser):  # type: ignore[misc]
    """Header lines that have come whole and without a fault, all in one step: gunicorn looks at
    each character of them in Python, which costs as much as the validation of several events.
    Whatever else there is goes its way."""

    __slots__ = ()

    def _parse_headers(self: Any) -> bool:
        end = self._buffer.find(b"\r\n\r\n") + 2
        whole = bytes(self._buffer[:end])
        if not _HEADER_LINES.fullmatch(whole):
            return bool(_Parser._parse_headers(self))
        lines = whole.split(b"\r\n")[:-1]
        count = self._header_count + len(lines)
        longest = max(map(len, lines)) + 2  # with its end
        if count > self._limit_request_fields or longest > self._limit_request_field_size:
            return bool(_Parser._parse_headers(self))
        del self._buffer[: end + 2]
        self._scan_from = 0
        self._header_count = count
        for line in lines:
            name, _, value = line.partition(b":")
            self._headers_list.append((name.lower(), value.strip(b" \t")))
        self._finalize_headers()
        return True


def _send_error_response(
    self: ASGIProtocol, status: int, message: str, extra_headers: Sequence[tuple[str, str]] = ()
) -> None:
    """gunicorn answers what it cannot read with plain text, sometimes with 501; ours is JSON."""
    status = 400 if status == 501 else status
    reason = HTTPStatus(status).phrase
    body = envelope(reason.upper().replace(" ", "_"), "The request is not valid HTTP.")
    headers = {
        "Connection": "close",
        "Content-Type": "application/json",
        "Content-Length": len(body),
        **HEADERS,
    }
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{n}: {v}" for n, v in headers.items())]
    head = "\r\n".join(lines) + "\r\n\r\n"
    self._safe_write(head.encode() + body)  # type: ignore[attr-defined]


def _eof_received(self: Any) -> bool:
    """Who has said all and still listens gets a reply; asyncio would close the connection."""
    self._keepalive = False
    body = self._body_receiver
    return self._current_request is not None and (body is None or body._complete)


async def listen(worker: Any) -> None:
    """gunicorn's `backlog` again: asyncio has made 100 of it, and whoever connects while so many
    wait is heard a second later."""
    while not worker.servers:
        await asyncio.sleep(0)
    for listener in worker.sockets:
        listener.sock.listen(worker.cfg.backlog)
