"""The bytes of a reply."""

from collections.abc import Iterable
from email.utils import formatdate
from functools import cache, lru_cache
from http import HTTPStatus

from app.replies import HEADERS, Reply

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_LAST = b"Connection: close\r\n"
_KEPT = b"Connection: keep-alive\r\n"  # HTTP/1.0 closes where nobody says so
_COMMON = (("Content-Type", "application/json"), *HEADERS.items())


def date() -> bytes:
    """The header field; it changes once a second."""
    return b"Date: %b\r\n" % formatdate(usegmt=True).encode()


def rendered(reply: Reply, *, date: bytes, version: str, is_last: bool) -> bytes:
    """A whole reply of our own."""
    return b"%bContent-Length: %d\r\n%b%b%b\r\n%b" % (
        _status_line(reply.status),
        len(reply.body),
        _common_fields(reply.headers),
        date,
        connection(version, is_last=is_last),
        reply.body,
    )


def head(
    status: int, fields: Iterable[tuple[str, str]], *, date: bytes, version: str, is_last: bool
) -> bytes:
    """Of a reply whose fields are somebody else's."""
    return b"%b%b%b%b\r\n" % (
        _status_line(status),
        _encoded(fields),
        date,
        connection(version, is_last=is_last),
    )


def connection(version: str, *, is_last: bool) -> bytes:
    if is_last:
        return _LAST
    return b"" if version == "1.1" else _KEPT


@cache
def _status_line(status: int) -> bytes:
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode()


@lru_cache(maxsize=100)
def _common_fields(own: tuple[tuple[str, str], ...]) -> bytes:
    return _encoded((*_COMMON, *own))


def _encoded(fields: Iterable[tuple[str, str]]) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in fields).encode("latin-1")
