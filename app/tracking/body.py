"""From the bytes of a request to decoded JSON, within limits."""

import zlib
from typing import Any

from app.batch.json import MalformedJson, parse_json
from app.replies import Refusal

WIRE_LIMIT = 512 * 1024  # bytes as sent
BODY_LIMIT = 1024 * 1024  # bytes once unpacked

_GZIP = 16 + zlib.MAX_WBITS
_GZIP_MEMBERS = 16  # browsers send one; each costs a copy of what follows it


def decode_body(raw: bytes, content_encoding: str) -> Any:
    """The JSON value of a body. Refusal: PAYLOAD_TOO_LARGE, UNSUPPORTED_ENCODING, MALFORMED_JSON.

    NUL and lone surrogates, which Postgres cannot hold, are U+FFFD in the result.
    """
    return decode_text(unpack_body(raw, content_encoding))


def unpack_body(raw: bytes, content_encoding: str) -> bytes:
    """Refusal: PAYLOAD_TOO_LARGE, UNSUPPORTED_ENCODING, MALFORMED_JSON where gzip is damaged."""
    if len(raw) > WIRE_LIMIT:
        raise _too_large()
    match content_encoding.strip().lower():
        case "" | "identity":
            return raw
        case "gzip" | "x-gzip":
            return _unpack(raw)
        case _:
            raise Refusal(415, "UNSUPPORTED_ENCODING", "Content-Encoding must be gzip or absent.")


def decode_text(text: bytes) -> Any:
    """As decode_body, of what is unpacked. Refusal: MALFORMED_JSON."""
    try:
        return parse_json(text)
    except MalformedJson as error:
        raise _malformed(str(error)) from None


def _unpack(raw: bytes) -> bytes:
    """gunzip, member by member, and never past the limit: a bomb is stopped while unpacking."""
    unpacked = b""
    for _ in range(_GZIP_MEMBERS):
        member = zlib.decompressobj(_GZIP)
        try:
            unpacked += member.decompress(raw, BODY_LIMIT + 1 - len(unpacked))
        except zlib.error:
            raise _malformed("the gzip data is corrupt") from None
        if len(unpacked) > BODY_LIMIT:
            raise _too_large()
        if not member.eof:
            raise _malformed("the gzip data is truncated")
        raw = member.unused_data
        if not raw:
            return unpacked
    raise _malformed("the gzip data has too many members")


def _too_large() -> Refusal:
    return Refusal(
        413,
        "PAYLOAD_TOO_LARGE",
        f"The body may be up to {WIRE_LIMIT} bytes as sent and {BODY_LIMIT} bytes unpacked.",
    )


def _malformed(reason: str) -> Refusal:
    return Refusal(400, "MALFORMED_JSON", f"The body is not valid JSON: {reason}.", details=[])
