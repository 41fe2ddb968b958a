"""From the bytes of a connection to requests, by llhttp, the parser of Node (through httptools).

llhttp frames, and bounds nothing. So what a caller may make us hold is bounded here: the request
line, each header field, how many of them, the whole head, and whatever stands between the pieces of
a body (sizes and extensions of chunks, trailers).
"""

import re
from collections import deque
from urllib.parse import unquote_to_bytes

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from app.replies import Reply, envelope

LINE_LIMIT = 8190  # bytes of the request line; Shopify's signed query grows with the shop's page
FIELD_LIMIT = 8190  # bytes of a header field
FIELDS_LIMIT = 100
HEAD_LIMIT = 64 * 1024  # bytes of a head in all, and of what comes between the pieces of a body

_ORIGIN = re.compile(rb"^https?://[^/?]*", re.IGNORECASE)  # RFC 9112, 3.2.2
_MESSAGES = {
    400: ("BAD_REQUEST", "The request is not valid HTTP."),
    408: ("REQUEST_TIMEOUT", "The request did not arrive in time."),
    414: ("URI_TOO_LONG", f"The request line may be up to {LINE_LIMIT} bytes long."),
    431: (
        "REQUEST_HEADER_FIELDS_TOO_LARGE",
        f"A request may have up to {FIELDS_LIMIT} header fields of {FIELD_LIMIT} bytes each,"
        f" and a head of {HEAD_LIMIT} bytes in all.",
    ),
}


def refusal(status: int) -> Reply:
    """The reply to what is no request, or none in time."""
    code, message = _MESSAGES[status]
    return Reply(envelope(code, message), status)


class GoneAway(Exception):
    """The caller, in the middle of a reply."""


class Request:
    """What a caller asks for. `refused` is the reply to what was no request; then nothing else of
    it counts, and nothing follows it."""

    __slots__ = ("body", "fields", "is_complete", "keep_alive", "limit", "method", "path", "query",
                 "refused", "size", "step", "verdict", "version")  # fmt: skip

    def __init__(self, method: bytes, target: bytes, version: str, keep_alive: bool) -> None:
        self.method, self.version, self.keep_alive = method, version, keep_alive
        raw_path, _, self.query = target.partition(b"?")
        path = _ORIGIN.sub(b"", raw_path) or b"/"
        # As WSGI has it: bytes as latin-1.
        self.path = (unquote_to_bytes(path) if b"%" in path else path).decode("latin-1")
        self.fields: list[tuple[bytes, bytes]] = []  # names in lower case
        self.body: bytes | bytearray = b""
        self.size = 0  # bytes of the body that have come
        self.limit: int | None = None  # bytes of it that are wanted; None: not known yet
        self.is_complete = False
        self.refused: Reply | None = None
        self.step = 0  # how far the connection has come with it
        self.verdict: object = None

    def add(self, piece: bytes) -> None:
        if not self.body:  # and mostly nothing follows
            self.body = piece
        elif self.limit is None or self.size <= self.limit:
            # One buffer: a list of pieces of a byte or two would take twenty times their size.
            if isinstance(self.body, bytes):
                self.body = bytearray(self.body)
            self.body += piece
        self.size += len(piece)

    @property
    def is_too_large(self) -> bool:
        return self.limit is not None and self.size > self.limit

    def field(self, name: bytes) -> bytes:
        """The value of a header field; of several, joined as RFC 9110, 5.3 says."""
        return b",".join([value for key, value in self.fields if key == name])


class RequestReader:
    """Puts the requests of a connection into `requests` as their heads arrive, and their bodies
    into them. What is no HTTP becomes a refused request, after which nothing is read."""

    def __init__(self, requests: deque[Request]) -> None:
        self._requests = requests
        self._parser: HttpRequestParser | None = HttpRequestParser(self)
        self._target = b""
        self._fields: list[tuple[bytes, bytes]] = []
        self._status = 0  # of the refusal, where there is a fault
        self._reading: Request | None = None  # its body
        self._between = 0  # bytes since the last piece of a head that ended, or of a body
        self._head = 0  # bytes
        self._is_known = False  # the head that the parser reads was read before
        self.has_begun = False  # a request whose head has not ended

    def feed(self, data: bytes) -> None:
        rest = data
        while self._parser is not None and rest:
            self._between += len(rest)
            try:
                rest = self._parse(self._parser, rest)
            except HttpParserError:
                self._status = self._status or 400
            if (
                self._requests
                and self._requests[-1].is_complete
                and not self._requests[-1].keep_alive
            ):
                self.close()
                return
            if self._between > HEAD_LIMIT and (self.has_begun or self._reading):
                self._status = self._status or self._status_of_too_much()
            if self._status:
                self._refuse(self._status)

    def _parse(self, parser: HttpRequestParser, data: bytes) -> bytes:
        """What is left to be parsed: what follows an offer to upgrade. HttpParserError."""
        try:
            parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            if not self._status:
                self._decline_upgrade()
            return data[upgrade.args[0] :]
        return b""

    def _status_of_too_much(self) -> int:
        if self._reading:
            return 400
        return 414 if len(self._target) > LINE_LIMIT else 431

    def close(self) -> None:
        """Read no more; let go of the parser, which refers to this reader."""
        self._parser = None
        self.has_begun = False

    def _decline_upgrade(self) -> None:
        """A request that offers an upgrade is a request like any other (RFC 9110, 7.8). The parser
        took what follows its head for another protocol: a new one is told the framing."""
        self._parser = parser = HttpRequestParser(self)
        request = self._requests[-1]
        framing = [
            b"%b: %b\r\n" % field
            for field in request.fields
            if field[0] in (b"content-length", b"transfer-encoding")
        ]
        if framing and request.method != b"CONNECT":
            if not request.keep_alive:
                framing.append(b"Connection: close\r\n")
            self._reading, request.is_complete = request, False
            self._is_known = True
            parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n" % b"".join(framing))
            self._is_known = False

    def _refuse(self, status: int) -> None:
        # In the place of the one whose body it should have been: nobody answers that one.
        if self._reading is not None and self._requests and self._requests[-1] is self._reading:
            request = self._requests[-1]
        else:
            request = Request(b"", b"", "1.1", keep_alive=False)
            self._requests.append(request)
        request.refused, request.keep_alive, request.is_complete = refusal(status), False, True
        self.close()

    # What httptools calls.

    def on_message_begin(self) -> None:
        if not self._is_known:
            self.has_begun = True
            self._target, self._fields, self._head = b"", [], 0

    def on_url(self, piece: bytes) -> None:
        if not self._is_known:
            self._target += piece

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.has_begun:  # else it is a trailer
            if len(name) + len(value) > FIELD_LIMIT:
                self._status = self._status or 431
            self._head += len(name) + len(value)
            self._fields.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        parser = self._parser
        if parser is None or self._status or self._is_known:
            return
        method, version = parser.get_method(), parser.get_http_version()
        if len(method) + len(self._target) + len(" HTTP/1.1\r\n") + 1 > LINE_LIMIT:
            self._status = 414
        elif len(self._fields) > FIELDS_LIMIT or self._head > HEAD_LIMIT:
            self._status = 431
        elif version not in ("1.1", "1.0"):
            self._status = 400
        if self._status:
            return
        # What follows the head of a CONNECT is no body of HTTP, and no request.
        keep_alive = parser.should_keep_alive() and method != b"CONNECT"
        request = Request(method, self._target, version, keep_alive)
        request.fields = self._fields
        self._reading = request
        self._requests.append(request)
        self.has_begun = False
        self._between = 0

    def on_body(self, piece: bytes) -> None:
        if self._reading is not None and not self._status:
            self._reading.add(piece)
            self._between = 0

    def on_message_complete(self) -> None:
        if self._reading is not None and not self._status:
            self._reading.is_complete = True
            self._reading = None
            self._between = 0
