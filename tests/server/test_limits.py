"""What a request may have at most, to the byte: so much passes, and one more is refused."""

from collections import deque

import pytest

from app.server import request as limits
from app.server.request import RequestReader

LINE = b"GET / HTTP/1.1"


def status(head, *body):
    """Of the refusal, which is whole and the last; 0 where it is a request."""
    requests = deque()
    reader = RequestReader(requests)
    reader.feed(head)
    for piece in body:
        reader.feed(piece)
    if not (requests and requests[0].refused):
        return 0
    assert (requests[0].is_complete, requests[0].keep_alive) == (True, False)
    assert not reader.has_begun
    return requests[0].refused.status


def with_fields(*fields, line=LINE):
    return b"\r\n".join([line, *(b"%b: %b" % field for field in fields), b"", b""])


def field(size):
    """Of a name and a value of so many bytes together."""
    return b"X", b"y" * (size - 1)


@pytest.mark.parametrize(("more", "answer"), [(0, 0), (1, 414)])
def test_a_request_line_has_8190_bytes(more, answer):
    path = b"/" + b"x" * (8_190 - len(LINE) - len(b"\r\n") + more)
    line = b"GET %b HTTP/1.1" % path
    assert len(line + b"\r\n") == 8_191 + more - 1
    assert status(with_fields(line=line)) == answer


@pytest.mark.parametrize(("more", "answer"), [(0, 0), (1, 431)])
def test_a_field_has_8190_bytes(more, answer):
    assert status(with_fields(field(8_190 + more))) == answer


@pytest.mark.parametrize(("more", "answer"), [(0, 0), (1, 431)])
def test_there_are_100_fields(more, answer):
    assert status(with_fields(*[field(5)] * (100 + more))) == answer


@pytest.mark.parametrize(("more", "answer"), [(0, 0), (1, 431)])
def test_a_head_has_64_kib(more, answer):
    """Of names and values; what comes at once may have its colons besides."""
    fields = [field(8_000)] * 8
    left = 64 * 1024 - 8 * 8_000
    assert status(with_fields(*fields, field(left + more))) == answer


@pytest.mark.parametrize(("more", "answer"), [(0, 0), (1, 431)])
def test_a_head_that_does_not_end_is_read_up_to_64_kib(more, answer):
    head = LINE + b"\r\nX: "
    assert status(head + b"y" * (64 * 1024 - len(head) + more)) == answer


@pytest.mark.parametrize(("more", "answer"), [(0, 0), (1, 400)])
def test_between_the_pieces_of_a_body_are_64_kib(more, answer):
    head = with_fields((b"Transfer-Encoding", b"chunked"), line=b"POST / HTTP/1.1")
    extension = b"1;" + b"x" * (64 * 1024 - 2 + more)
    assert status(head, extension) == answer
    assert status(head, b"1\r\na\r\n", extension[:-5]) == 0  # it counts from the last piece on


def test_a_refusal_names_the_limits():
    said = {status: limits.refusal(status).body.decode() for status in (408, 414, 431)}
    assert "in time" in said[408]
    assert "up to 8190 bytes" in said[414]
    assert "up to 100 header fields of 8190 bytes each, and a head of 65536 bytes" in said[431]
