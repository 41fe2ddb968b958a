"""What the reports need to know of stored events, packed by the writer in the transaction that
stores them, so that nobody has to look them up again to count them."""

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple, cast

import orjson

from app.batch.batch import BATCH_COLUMNS, EVENT_COLUMNS, Batch

# What happened longer before it was received counts as an event only.
LATEST = timedelta(days=1461)
_LATEST = LATEST // timedelta(microseconds=1)

MOST_TEXT = 200  # characters of a product or a version
_MOST_LANGUAGE = 16
_MOST_EVENTS = 1_000  # in one pack
_RECEIVED, _CLIENT, _SESSION, _PRODUCT, _VERSION, _CONTEXT, _DEVICE = map(
    BATCH_COLUMNS.index,
    ("received_at", "client_id", "session_id", "product_id", "lib_version", "context",
     "device_class"),
)  # fmt: skip
_AT, _NAME, _PROPERTIES = map(EVENT_COLUMNS.index, ("occurred_at", "event", "properties"))
_LANGUAGE = '"$browser_language"'
_ESCAPED = re.compile(r"\\(.)")
_ESCAPES = {"t": "\t", "n": "\n", "r": "\r", "\\": "\\"}


class Pack(NamedTuple):
    batches: int
    packed: bytes


# Of one batch: its visitor, version, device and language, '' where nothing was sent; the product of
# all events, or a list with each event's; and of each event the time in microseconds of Unix time,
# and the name, or None where it came too late.
News = tuple[str, str, str, str, str | list[str], list[int], list[str | None]]


def pack(batches: Iterable[tuple[Batch, Sequence[bytes]]]) -> Iterator[Pack]:
    """Batches with those lines of their events that were stored. One pack or several. ValueError
    where a line is none that this system has rendered."""
    some: list[News] = []
    events = 0
    for batch, lines in batches:
        some.append(_news(batch.line, lines))
        events += len(lines)
        if events >= _MOST_EVENTS:
            yield Pack(len(some), orjson.dumps(some))
            some, events = [], 0
    if some:
        yield Pack(len(some), orjson.dumps(some))


def unpack(packed: bytes) -> list[News]:
    return cast(list[News], orjson.loads(packed))  # lists, and not tuples: all the same here


def microseconds(text: str) -> int:
    """Of Unix time, from ISO 8601."""
    if text[16:17] == ":" and text.endswith("+00:00"):  # as nearly all are
        fraction = text[20:-6]
        return _minute(text[:16]) + int(text[17:19]) * 1_000_000 + int(fraction.ljust(6, "0"))
    return round(datetime.fromisoformat(text).timestamp() * 1e6)


@lru_cache(1000)
def _minute(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


def product_of(value: object) -> str:
    """What an event's own `product_id` says."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    is_one = isinstance(value, str | int | float) and not isinstance(value, bool)
    return str(value)[:MOST_TEXT] if is_one else ""


@lru_cache(1000)
def language_of(text: str) -> str:
    """`en` of `en-US`."""
    return text.partition("-")[0].lower()[:_MOST_LANGUAGE]


def _news(line: bytes, lines: Sequence[bytes]) -> News:
    cells = line.decode().split("\t")
    events = [event.split(b"\t", _NAME + 1) for event in lines]
    names: list[str | None] = [event[_NAME].decode() for event in events]
    times = [microseconds(event[_AT].decode()) for event in events]
    received = cells[_RECEIVED]
    # Nobody's clock matters where all years are the same.
    if any(not event.startswith(received[:4].encode()) for event in lines):
        oldest = microseconds(received) - _LATEST
        names = [name if at >= oldest else None for name, at in zip(names, times, strict=True)]
    product: str | list[str] = _text(cells[_PRODUCT])[:MOST_TEXT]
    return (
        _text(cells[_CLIENT]) or _text(cells[_SESSION]),
        _text(cells[_VERSION])[:MOST_TEXT],
        _text(cells[_DEVICE]),
        language_of(_language(cells[_CONTEXT])),
        product or [_own_product(event[-1]) for event in events],
        times,
        names,
    )


def _text(cell: str) -> str:
    if "\\" in cell:
        return "" if cell == r"\N" else _unescaped(cell)
    return cell


def _unescaped(cell: str) -> str:
    return _ESCAPED.sub(lambda found: _ESCAPES.get(found[1], found[1]), cell)


def _language(context: str) -> str:
    _, found, rest = context.partition(_LANGUAGE)
    if not found:
        return ""
    if rest[:2] == ':"' and "\\" not in context and context.count("{") == 1:
        return rest[2:].partition('"')[0]  # it can only be the field itself
    value = orjson.loads(_unescaped(context)).get("$browser_language")
    return value if isinstance(value, str) else ""


def _own_product(cells: bytes) -> str:
    """From an event's cells behind its name."""
    if b'"product_id"' not in cells:
        return ""
    properties = cells.split(b"\t")[_PROPERTIES - _NAME - 1].decode()
    if properties == r"\N":
        return ""
    return product_of(orjson.loads(_unescaped(properties)).get("product_id"))
