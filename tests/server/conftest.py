import socket
from contextlib import closing

import pytest

from app.server.server import TimeLimits
from tests.calls import PATH, query
from tests.serving import serving

# Short ones, and those of production in the same proportion.
QUICK = TimeLimits(head=0.6, body=0.6, idle=1.5, taking=1.0, lingering=0.3)
PLAIN = b'{"events":[{"event":"widget:button_click","timestamp":"2024-01-15T10:30:00Z",' \
    b'"$insert_id":"%d"}],"context":{}}'  # fmt: skip


def post(body=PLAIN % 1, *fields, signed=True, length=True, target=None):
    """The bytes of a request to the endpoint."""
    target = target or f"{PATH}?{query(secret='test-secret' if signed else 'wrong')}"
    lines = [f"POST {target} HTTP/1.1".encode(), b"Host: a", *fields]
    if length:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join([*lines, b"", b""]) + body


class Caller:
    """A socket to the server, and what has come back on it."""

    def __init__(self, server):
        self.socket = socket.create_connection(server.address, timeout=10)

    def send(self, data):
        self.socket.sendall(data)

    def rest(self):
        """All that comes until the server closes."""
        received = b""
        try:
            while piece := self.socket.recv(65536):
                received += piece
        except ConnectionResetError:
            received += b"<reset>"
        return received

    def replies(self, number):
        """So many replies with a Content-Length: status and body."""
        found, data = [], b""
        while len(found) < number:
            head, end, rest = data.partition(b"\r\n\r\n")
            size = 0
            for line in head.lower().split(b"\r\n"):
                if line.startswith(b"content-length:"):
                    size = int(line.partition(b":")[2])
            if end and len(rest) >= size:
                found.append((int(head.split()[1]), rest[:size]))
                data = rest[size:]
            else:
                piece = self.socket.recv(65536)
                assert piece, f"closed after {found} and {data!r}"
                data += piece
        return found


@pytest.fixture
def served(app):
    with serving(app, QUICK) as server:
        yield server


@pytest.fixture
def connect(served):
    callers = []

    def make():
        callers.append(Caller(served))
        return callers[-1]

    yield make
    for caller in callers:
        with closing(caller.socket):
            pass
