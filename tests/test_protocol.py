from itertools import pairwise

import pytest
from gunicorn.asgi.parser import ParseError, PythonProtocol
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.protocol import Parser

START = b"POST /x?shop=a HTTP/1.1\r\n"
LIMITS = {"limit_request_fields": 3, "limit_request_field_size": 60}

lines = st.sampled_from(
    [
        b"Host: a", b"host:b", b"Content-Type: application/json", b"Content-Length: 3",
        b"Content-Length: 0", b"content-length: x", b"Transfer-Encoding: chunked",
        b"transfer-encoding: gzip", b"Connection: close", b"Connection: keep-alive", b"X: ",
        b"X:\t \t", b"X:\ty z \t", b"X-Y_z: \xc3\xa4", b"X" * 56 + b": y", b"X: " + b"y" * 56,
        b"no colon", b": nameless", b"X : y", b" X: folded", b"X\x00: y", b"X: \x00", b"X: a\rb",
        b"X: a\nb", b"X: \x7f", b"\xc3\xa4: y", b"", b"\n", b"\r",
    ]
)  # fmt: skip
ends = st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r"])
bodies = st.sampled_from(
    [b"", b"abc", b"3\r\nabc\r\n0\r\n\r\n", b"abcGET / HTTP/1.1\r\n\r\n", b"\r\n\r\n"]
)


@st.composite
def requests(draw):
    header = b"".join(line + draw(ends) for line in draw(st.lists(lines, max_size=8)))
    return START + header + draw(st.sampled_from([b"\r\n", b"\r\n", b""])) + draw(bodies)


def outcome(parser, pieces):
    said, failure = [], None
    reader = parser(
        on_headers_complete=lambda: said.append("headers"),
        on_body=said.append,
        on_message_complete=lambda: said.append("end"),
        **LIMITS,
    )
    try:
        for piece in pieces:
            reader.feed(piece)
    except ParseError as error:
        failure = (type(error), str(error))
    body = b"".join(part for part in said if isinstance(part, bytes))
    events = [part for part in said if isinstance(part, str)]
    return (
        failure, body, events, reader.method, reader.path, reader.headers, reader.content_length,
        reader.is_chunked, reader.should_keep_alive, reader.is_complete, reader.remaining(),
    )  # fmt: skip


@settings(max_examples=1_000)
@given(requests(), st.lists(st.integers(0, 200), max_size=3))
@example(START + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", [30])
def test_requests_are_read_as_gunicorn_reads_them(request_, cuts):
    cuts = [0, *sorted(cuts), len(request_)]
    pieces = [request_[start:end] for start, end in pairwise(cuts)]
    assert outcome(Parser, pieces) == outcome(PythonProtocol, pieces)


@pytest.mark.parametrize("cut", [0, 33, 38])
@pytest.mark.parametrize("fields", [b"X: a\r\n" * 3, b"X: a\r\n" * 4])
@pytest.mark.parametrize("trailers", [b"", b"X: a\r\n"])
def test_fields_are_counted_as_gunicorn_counts_them(fields, cut, trailers):
    chunked = b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + trailers + b"\r\n"
    for request in (START + fields + b"\r\n", START + fields[6:] + chunked):
        pieces = [request[:cut], request[cut:]]
        assert outcome(Parser, pieces) == outcome(PythonProtocol, pieces)


@pytest.mark.parametrize("cut", [0, 30, 40])
def test_one_reader_reads_request_after_request(cut):
    request = START + b"Host: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    bodies = []
    reader = Parser(on_body=bodies.append)
    for _ in range(2):
        reader.feed(request[:cut])
        reader.feed(request[cut:])
        assert reader.is_complete
        assert reader.headers == [(b"host", b"a"), (b"transfer-encoding", b"chunked")]
        reader.reset()
    assert bodies == [b"abc", b"abc"]
