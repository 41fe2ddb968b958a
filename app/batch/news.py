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
_LANGUAGE = b'"$browser_language"'
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


def microseconds(cell: bytes) -> int:
    """Of Unix time, from ISO 8601."""
    if len(cell) == 32 and cell.endswith(b"+00:00"):  # as nearly all are
        return _second(cell[:19]) + int(cell[20:26])
    return round(datetime.fromisoformat(cell.decode()).timestamp() * 1e6)


@lru_cache(10_000)
def _second(cell: bytes) -> int:
    return int(datetime.fromisoformat(cell.decode()).replace(tzinfo=UTC).timestamp()) * 1_000_000


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
    cells = line.split(b"\t")
    times, rests = [], []
    names: list[str | None] = []
    for event in lines:
        at, _, _, name, rest = event.split(b"\t", _NAME + 1)
        times.append(microseconds(at))
        names.append(name.decode())
        rests.append(rest)
    product, version, device = _values(cells[_PRODUCT], cells[_VERSION], cells[_DEVICE])
    oldest = microseconds(cells[_RECEIVED]) - _LATEST
    return (
        _text(cells[_CLIENT]) or _text(cells[_SESSION]),
        version,
        device,
        language_of(_language(cells[_CONTEXT])),
        product or [_own_product(rest) for rest in rests],
        times,
        names if min(times) >= oldest else _but_late(names, times, oldest),
    )


def _but_late(names: Sequence[str | None], times: Sequence[int], oldest: int) -> list[str | None]:
    return [name if at >= oldest else None for name, at in zip(names, times, strict=True)]


@lru_cache(10_000)
def _values(product: bytes, version: bytes, device: bytes) -> tuple[str, str, str]:
    return _text(product)[:MOST_TEXT], _text(version)[:MOST_TEXT], _text(device)


def _text(cell: bytes) -> str:
    if b"\\" in cell:
        return "" if cell == rb"\N" else _unescaped(cell.decode())
    return cell.decode()


def _unescaped(cell: str) -> str:
    return _ESCAPED.sub(lambda found: _ESCAPES.get(found[1], found[1]), cell)


def _language(context: bytes) -> str:
    _, found, rest = context.partition(_LANGUAGE)
    if not found:
        return ""
    if rest[:2] == b':"' and b"\\" not in context and context.count(b"{") == 1:
        return rest[2:].partition(b'"')[0].decode()  # it can only be the field itself
    value = orjson.loads(_unescaped(context.decode())).get("$browser_language")
    return value if isinstance(value, str) else ""


def _own_product(cells: bytes) -> str:
    """From an event's cells behind its name."""
    if b'"product_id"' not in cells:
        return ""
    properties = cells.split(b"\t")[_PROPERTIES - _NAME - 1].decode()
    if properties == r"\N":
        return ""
    return product_of(orjson.loads(_unescaped(properties)).get("product_id"))
