"""From bytes to requests: wherever they are split, whatever is wrong with them."""

import tracemalloc
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.server.request import RequestReader

BODY = b'{"events":[]}'
CHUNKS = b'4\r\n{"ev\r\n9;x=y\r\nents":[]}\r\n0\r\n'
NEXT = b"GET /next?x=1 HTTP/1.1\r\nHost: a\r\n\r\n"
LENGTH, CHUNKED = b"Content-Length: 13", b"Transfer-Encoding: chunked"


def request(*fields, line=b"POST /a?b=c HTTP/1.1"):
    return b"\r\n".join([line, b"Host: a", *fields, b"", b""])


def offer(framing, connection=b"upgrade", line=b"POST /a?b=c HTTP/1.1"):
    return request(b"Upgrade: x", b"Connection: " + connection, framing, line=line)


REQUESTS = [
    NEXT + NEXT,
    b"\r\n" + NEXT,
    request(LENGTH) + BODY + NEXT,
    request(CHUNKED) + CHUNKS + b"\r\n" + NEXT,
    request(CHUNKED) + CHUNKS + b"Trailer: y\r\nOther: z\r\n\r\n" + NEXT,
    request(LENGTH, b"Connection: close") + BODY + NEXT,
    request(b"Content-Length: 0") + NEXT,
    request(b"Empty:", b"X:  y  ", b"X: z", LENGTH) + BODY,
    request(line=b"GET /a HTTP/1.0") + NEXT,
    request(b"Connection: keep-alive", line=b"GET /a HTTP/1.0") + NEXT,
    request(line=b"CONNECT a:80 HTTP/1.1") + NEXT,
    request(LENGTH, line=b"CONNECT a:80 HTTP/1.1") + BODY + NEXT,
    request(line=b"OPTIONS * HTTP/1.1") + NEXT,
    request(line=b"GET http://a/b?c HTTP/1.1") + NEXT,
    offer(LENGTH) + BODY + NEXT,
    offer(CHUNKED) + CHUNKS + b"\r\n" + NEXT,
    offer(CHUNKED) + CHUNKS + b"Trailer: y\r\n\r\n" + NEXT,
    offer(LENGTH, b"close, upgrade") + BODY + NEXT,
    offer(LENGTH, line=b"POST /a HTTP/1.0") + BODY + NEXT,
    offer(b"X: y") + offer(b"X: y") + NEXT,
    offer(b"Transfer-Encoding: gzip") + CHUNKS,
    offer(LENGTH, line=b"POST /a") + BODY + NEXT,
    request(b"Content-Length: +3") + b"abc",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00",
]


def read(*pieces):
    """The requests, as far as they have come, and whether another one has begun."""
    requests = deque()
    reader = RequestReader(requests)
    for piece in pieces:
        reader.feed(piece)
    return [what_came(one) for one in requests], reader.has_begun


def what_came(one):
    if one.refused:
        return one.refused.status
    return one.method, one.path, one.query, one.fields, bytes(one.body), one.is_complete


@pytest.mark.parametrize("data", REQUESTS)
def test_a_split_at_any_byte_changes_nothing(data):
    whole = read(data)
    assert read(*[data[at : at + 1] for at in range(len(data))]) == whole
    for at in range(1, len(data)):
        assert read(data[:at], data[at:]) == whole


@pytest.mark.parametrize("framing", [LENGTH, CHUNKED, b"X: y"])
@pytest.mark.parametrize("connection", [b"upgrade", b"close, upgrade", b"keep-alive, upgrade"])
@pytest.mark.parametrize("line", [b"POST /a HTTP/1.1", b"GET /a HTTP/1.1", b"PUT /a HTTP/1.0"])
def test_an_offer_to_upgrade_changes_nothing(framing, connection, line):
    body = {LENGTH: BODY, CHUNKED: CHUNKS + b"\r\n", b"X: y": b""}[framing]
    data = offer(framing, connection, line) + body + NEXT
    offered, plain = read(data)[0], read(data.replace(b"Upgrade:", b"Up-rade:"))[0]
    for one, other in zip(offered, plain, strict=True):
        assert one[4] == other[4]
        assert one[5] == other[5]


pieces = st.sampled_from(
    [b"\r\n", b"\n", b" ", b":", b"-", b"\x00", b"\xff", b"chunked", b"HTTP/1.0", LENGTH, CHUNKED]
)


@given(
    st.sampled_from(REQUESTS), st.integers(0, 200), st.integers(0, 3), pieces, st.integers(0, 200)
)
def test_what_is_wrong_is_refused_and_raises_nothing(data, at, removed, piece, split):
    data = data[:at] + piece + data[at + removed :]
    assert read(data) == read(data[:split], data[split:])


def test_a_body_in_tiny_pieces_takes_no_more_memory_than_another():
    requests = deque()
    reader = RequestReader(requests)
    reader.feed(request(b"Content-Length: 400000"))
    tracemalloc.start()
    for _ in range(100_000):
        reader.feed(b"ab")
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert requests[0].size == 200_000
    assert held < 2 * requests[0].size


def test_a_fault_in_a_body_is_that_requests_and_not_of_one_that_waits_before_it():
    requests = deque()
    reader = RequestReader(requests)
    reader.feed(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
    reader.feed(b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    reader.feed(b"no number\r\n")
    waiting, faulty = requests
    assert (waiting.refused, waiting.keep_alive) == (None, True)
    assert (faulty.refused.status, faulty.keep_alive) == (400, False)
