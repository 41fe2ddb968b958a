"""What the reports need to know of stored events, packed by the writer in the transaction that
stores them, so that nobody has to look them up again to count them."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from app.batch.batch import BATCH_COLUMNS, EVENT_COLUMNS, Batch

MOST_TEXT = 200  # characters of a product or a version
_MOST_LANGUAGE = 16
_MOST_EVENTS = 1_000  # in one pack
_RECEIVED, _CLIENT, _SESSION, _PRODUCT, _VERSION, _CONTEXT, _DEVICE = map(
    BATCH_COLUMNS.index,
    ("received_at", "client_id", "session_id", "product_id", "lib_version", "context",
     "device_class"),
)  # fmt: skip
_AT, _NAME, _PROPERTIES = map(EVENT_COLUMNS.index, ("occurred_at", "event", "properties"))
_LANGUAGE = b'"$browser_language"'
_ESCAPES = {b"t": b"\t", b"n": b"\n", b"r": b"\r", b"\\": b"\\"}


class Pack(NamedTuple):
    batches: int
    packed: bytes


class News(NamedTuple):
    """Of one batch. Texts are '' where nothing was sent; times are in microseconds of Unix time.
    An event is its time, its name and its product."""

    visitor: str
    version: str
    device: str
    language: str
    received: int
    events: list[tuple[int, str, str]]


def pack(batches: Iterable[tuple[Batch, Sequence[bytes]]]) -> Iterator[Pack]:
    """Batches with those lines of their events that were stored. One pack or several."""
    some: list[list[Any]] = []
    events = 0
    for batch, lines in batches:
        some.append(_pack(batch.line, lines))
        events += len(lines)
        if events >= _MOST_EVENTS:
            yield Pack(len(some), orjson.dumps(some))
            some, events = [], 0
    if some:
        yield Pack(len(some), orjson.dumps(some))


def unpack(packed: bytes) -> Iterator[News]:
    for visitor, version, device, language, received, *cells in orjson.loads(packed):
        events = zip(map(microseconds, cells[::3]), cells[1::3], cells[2::3], strict=True)
        yield News(visitor, version, device, language, microseconds(received), list(events))


def microseconds(text: str) -> int:
    """Of Unix time, from ISO 8601."""
    return round(datetime.fromisoformat(text).timestamp() * 1e6)


def product_of(value: object) -> str:
    """What an event's own `product_id` says."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    is_one = isinstance(value, str | int | float) and not isinstance(value, bool)
    return str(value)[:MOST_TEXT] if is_one else ""


def language_of(text: str) -> str:
    """`en` of `en-US`."""
    return text.partition("-")[0].lower()[:_MOST_LANGUAGE]


def _pack(line: bytes, events: Sequence[bytes]) -> list[Any]:
    cells = line.split(b"\t")
    product = _text(cells[_PRODUCT])[:MOST_TEXT]
    packed: list[Any] = [
        _text(cells[_CLIENT]) or _text(cells[_SESSION]),
        _text(cells[_VERSION])[:MOST_TEXT],
        _text(cells[_DEVICE]),
        language_of(_language(cells[_CONTEXT])),
        cells[_RECEIVED].decode(),
    ]
    for event in events:
        of_event = event.split(b"\t", _PROPERTIES + 1)
        packed += (
            of_event[_AT].decode(),
            of_event[_NAME].decode(),
            product or _own_product(of_event[_PROPERTIES]),
        )
    return packed


def _text(cell: bytes) -> str:
    if b"\\" in cell:
        return "" if cell == rb"\N" else _unescaped(cell).decode()
    return cell.decode()


def _unescaped(cell: bytes) -> bytes:
    first, *rest = cell.split(b"\\")
    parts = [first]
    rest_of = iter(rest)
    for part in rest_of:
        if part:
            parts += (_ESCAPES[part[:1]], part[1:])
        else:  # between the two of an escaped backslash
            parts += (b"\\", next(rest_of))
    return b"".join(parts)


def _language(context: bytes) -> str:
    _, found, rest = context.partition(_LANGUAGE)
    if not found:
        return ""
    if rest[:2] == b':"' and b"\\" not in context and context.count(b"{") == 1:
        return rest[2:].partition(b'"')[0].decode()  # it can only be the field itself
    value = orjson.loads(_unescaped(context)).get("$browser_language")
    return value if isinstance(value, str) else ""


def _own_product(properties: bytes) -> str:
    if b'"product_id"' not in properties:
        return ""
    return product_of(orjson.loads(_unescaped(properties)).get("product_id"))
