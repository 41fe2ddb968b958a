"""What the reports need to know of stored events, packed by the writer in the transaction that
stores them, so that nobody has to look them up again to count them."""

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple, cast

import orjson

from app.batch.batch import BATCH_COLUMNS, EVENT_COLUMNS, Batch, unescape
from app.batch.visitor import NOBODYS, WIDGET, is_nobodys, named, visitor_of

# Of what is announced of an event, and who a visitor is. A shop of which another one announced
# something is counted again. Where this is raised, so is COUNTED (app.counts.measures).
DEFINITION = 2

# What happened longer before it was received counts as an event only.
LATEST = timedelta(days=1461)
_LATEST = LATEST // timedelta(microseconds=1)

WITHOUT_WIDGET = "-"  # before the name of an event on a page that had no widget
_MOST_TEXT = 200  # characters of a product or a version
_MOST_LANGUAGE = 16
_MOST_EVENTS = 1_000  # in one pack
_RECEIVED, _CLIENT, _SESSION, _PRODUCT, _VERSION, _CONTEXT, _DEVICE = map(
    BATCH_COLUMNS.index,
    ("received_at", "client_id", "session_id", "product_id", "lib_version", "context",
     "device_class"),
)  # fmt: skip
_AT, _NAME, _PROPERTIES = map(EVENT_COLUMNS.index, ("occurred_at", "event", "properties"))
_LANGUAGE = '"$browser_language"'
_NUMBER = re.compile(r"\d{1,20}", re.ASCII)
_FIRST_PART = re.compile(r"[^-_.@]*")
_EDITOR, _DRIVEN = (f'"{name}"' for name in NOBODYS)
_TITLE = "product_title"
_TITLE_IN_LINE = f'"{_TITLE}"'.encode()
_EDITOR_IN_LINE, _DRIVEN_IN_LINE = _EDITOR.encode(), _DRIVEN.encode()
_IS_WITHOUT_WIDGET = f'"{WIDGET}":false'


class Pack(NamedTuple):
    batches: int
    packed: bytes
    by_session: list[int]  # places of the batches that name a session and no client
    titles: bytes  # of products, with when each was seen; empty where none was sent


# Of one batch: its visitor, version, device and language, '' where nothing was sent; the product of
# all events, or a list with each event's; and of each event the time in microseconds of Unix time,
# and the name, or None where it counts as an event only.
News = tuple[str, str, str, str, str | list[str], list[int], list[str | None]]


def pack(batches: Iterable[tuple[Batch, Sequence[bytes]]]) -> Iterator[Pack]:
    """Batches with those lines of their events that were stored. One pack or several. ValueError
    where a line is none that this system has rendered."""
    some: list[News] = []
    by_session: list[int] = []
    titles: dict[str, tuple[int, str]] = {}
    events = 0
    for batch, lines in batches:
        if not _has_client(batch.line):
            by_session.append(len(some))
        news = _news(batch.line, lines)
        some.append(news)
        for place, line in enumerate(lines):
            if _TITLE_IN_LINE in line:
                _add_title(titles, news, place, line)
        events += len(lines)
        if events >= _MOST_EVENTS:
            yield Pack(len(some), orjson.dumps(some), by_session, _pack_titles(titles))
            some, by_session, titles, events = [], [], {}, 0
    if some:
        yield Pack(len(some), orjson.dumps(some), by_session, _pack_titles(titles))


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
    """What a `product_id` says, "" where it says nothing; a bare number is Shopify's own id."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        return ""
    return _product_of_text(str(value))


@lru_cache(1000)
def _product_of_text(text: str) -> str:
    text = text[:_MOST_TEXT]
    return f"gid://shopify/Product/{text}" if _NUMBER.fullmatch(text) else text


def version_of(text: str) -> str:
    return text[:_MOST_TEXT]


@lru_cache(1000)
def language_of(text: str) -> str:
    """`en` of `en-US`, `en_US` and `en.UTF-8`."""
    return _FIRST_PART.match(text.lower())[0][:_MOST_LANGUAGE]  # type: ignore[index]


def _news(header: bytes, lines: Sequence[bytes]) -> News:
    cells = header.decode().split("\t")
    events = [event.split(b"\t", _NAME + 1) for event in lines]
    names: list[str | None] = [event[_NAME].decode() for event in events]
    times = [microseconds(event[_AT].decode()) for event in events]
    received = cells[_RECEIVED]
    # Nobody's clock matters where all years are the same.
    if any(not event.startswith(received[:4].encode()) for event in lines):
        oldest = microseconds(received) - _LATEST
        names = [name if at >= oldest else None for name, at in zip(names, times, strict=True)]
    device, context = _text(cells[_DEVICE]), cells[_CONTEXT]
    if device == "bot" or _is_nobodys(context):
        names = [None] * len(names)
    for number, line in enumerate(lines):
        if _EDITOR_IN_LINE in line or _DRIVEN_IN_LINE in line:  # hardly ever
            names[number] = None if _is_nobodys(_properties(events[number][-1])) else names[number]
    if _IS_WITHOUT_WIDGET in context and orjson.loads(unescape(context)).get(WIDGET) is False:
        names = [name and WITHOUT_WIDGET + name for name in names]
    product: str | list[str] = _product_of_text(_text(cells[_PRODUCT]))
    return (
        visitor_of(_text(cells[_CLIENT]), _text(cells[_SESSION])) or "",
        version_of(_text(cells[_VERSION])),
        device,
        language_of(_language(context)),
        product or [_own_product(event[-1]) for event in events],
        times,
        names,
    )


def _add_title(titles: dict[str, tuple[int, str]], news: News, place: int, line: bytes) -> None:
    """What the event at that place calls its product, if it is somebody's; the newest stays."""
    *_, products, times, names = news
    product = products if isinstance(products, str) else products[place]
    if not product or names[place] is None:
        return
    cell = _properties(line.split(b"\t", _NAME + 1)[-1])
    title = None if cell == r"\N" else orjson.loads(unescape(cell)).get(_TITLE)
    if isinstance(title, str) and (words := " ".join(title.split())[:_MOST_TEXT]):
        titles[product] = max(titles.get(product, (times[place], words)), (times[place], words))


def _pack_titles(titles: dict[str, tuple[int, str]]) -> bytes:
    """Each product with the time in microseconds, and the title."""
    rows = [(product, *newest) for product, newest in titles.items()]
    return orjson.dumps(rows) if rows else b""


def _has_client(line: bytes) -> bool:
    return named(_text(line.split(b"\t", _CLIENT + 1)[_CLIENT].decode())) is not None


def _text(cell: str) -> str:
    if "\\" in cell:
        return "" if cell == r"\N" else unescape(cell)
    return cell


def _language(context: str) -> str:
    _, found, rest = context.partition(_LANGUAGE)
    if not found:
        return ""
    if rest[:2] == ':"' and "\\" not in context and context.count("{") == 1:
        return rest[2:].partition('"')[0]  # it can only be the field itself
    value = orjson.loads(unescape(context)).get("$browser_language")
    return value if isinstance(value, str) else ""


def _is_nobodys(cell: str) -> bool:
    """Of a context or of properties."""
    is_marked = _EDITOR in cell or _DRIVEN in cell
    return is_marked and is_nobodys(orjson.loads(unescape(cell)))


def _properties(cells: bytes) -> str:
    """From an event's cells behind its name."""
    return cells.split(b"\t")[_PROPERTIES - _NAME - 1].decode()


def _own_product(cells: bytes) -> str:
    if b'"product_id"' not in cells:
        return ""
    properties = _properties(cells)
    if properties == r"\N":
        return ""
    return product_of(orjson.loads(unescape(properties)).get("product_id"))
