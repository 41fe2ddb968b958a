"""What the reports need to know of stored events, packed by the writer in the transaction that
stores them, so that nobody has to look them up again to count them.

The web process has it all at hand: it renders it with a usual batch (`announce`), and the stream
carries it. Of all others it is read out of their lines.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple, cast

import orjson

from app.batch.batch import BATCH_COLUMNS, EVENT_COLUMNS, Batch, Context, Event, unescape
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
_AT, _SENT, _NAME, _PROPERTIES = map(
    EVENT_COLUMNS.index, ("occurred_at", "sent_timestamp", "event", "properties")
)
_NULL = rb"\N"
_LANGUAGE = "$browser_language"
_NUMBER = re.compile(r"\d{1,20}", re.ASCII)
_FIRST_PART = re.compile(r"[^-_.@]*")
_EDITOR, _DRIVEN = (f'"{name}"'.encode() for name in NOBODYS)
_TITLE = "product_title"
_TITLE_IN_LINE = f'"{_TITLE}"'.encode()
_PRODUCT_IN_LINE = b'"product_id"'
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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
    some: list[bytes] = []
    by_session: list[int] = []
    titles: dict[str, tuple[int, str]] = {}
    events = 0
    for batch, lines in batches:
        has_client, news = _announced(batch.news, len(lines)) or _of_lines(batch.line, lines)
        if not has_client:
            by_session.append(len(some))
        some.append(news)
        for place, line in enumerate(lines):
            if _TITLE_IN_LINE in line:
                _add_title(titles, news, place, line)
        events += len(lines)
        if events >= _MOST_EVENTS:
            yield Pack(len(some), _join(some), by_session, _pack_titles(titles))
            some, by_session, titles, events = [], [], {}, 0
    if some:
        yield Pack(len(some), _join(some), by_session, _pack_titles(titles))


def announce(
    batch: Batch, context: Context, events: Sequence[Event], received_at: datetime
) -> bytes:
    """What `pack` needs of a batch that was built of these; empty where it has other events, or
    other times, than those."""
    fields = context.fields
    if not events or fields is None or len(events) != len(batch.events):
        return b""
    if _is_clock_corrected(batch.events[0]):
        return b""
    columns = context.columns
    client = columns.get("client_id")
    news = _news(
        visitor_of(client, columns.get("session_id")),
        columns.get("lib_version", ""),
        columns.get("device_class", ""),
        columns.get("product_id", ""),
        fields,
        since_epoch(received_at),
        [since_epoch(event.timestamp) for event in events],
        [event.name for event in events],
        [event.properties for event in events],
    )
    return _head(named(client) is not None, len(events)) + news


def _head(has_client: bool, events: int) -> bytes:
    """Of what was announced: by which definition, and of how many events."""
    return b"%d%b%d:" % (DEFINITION, b"+" if has_client else b"-", events)


def _announced(announced: bytes, events: int) -> tuple[bool, bytes] | None:
    """Whether a client was named, and the news; None where they are not of so many events, or by
    another release's definition."""
    for has_client in (True, False):
        head = _head(has_client, events)
        if announced.startswith(head):
            return has_client, announced[len(head) :]
    return None


def _is_clock_corrected(line: bytes) -> bool:
    return line.split(b"\t", _SENT + 1)[_SENT] != _NULL


def since_epoch(at: datetime) -> int:
    """Microseconds of Unix time."""
    since = at - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _join(news: Sequence[bytes]) -> bytes:
    return b"[%b]" % b",".join(news)


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


def _of_lines(header: bytes, lines: Sequence[bytes]) -> tuple[bool, bytes]:
    """Whether a client is named, and the news."""
    cells = header.decode().split("\t")
    events = [line.split(b"\t", _PROPERTIES + 1) for line in lines]
    client, session = _text(cells[_CLIENT]), _text(cells[_SESSION])
    news = _news(
        visitor_of(client, session),
        _text(cells[_VERSION]),
        _text(cells[_DEVICE]),
        _text(cells[_PRODUCT]),
        orjson.loads(_text(cells[_CONTEXT]) or "{}"),
        microseconds(cells[_RECEIVED]),
        [microseconds(event[_AT].decode()) for event in events],
        [event[_NAME].decode() for event in events],
        [_json(event[_PROPERTIES]) for event in events],
    )
    return named(client) is not None, news


def _news(
    visitor: str | None,
    version: str,
    device: str,
    product: str,
    context: Mapping[str, Any],
    received: int,
    times: list[int],
    names: list[str],
    properties: list[bytes],
) -> bytes:
    told: list[str | None] = [*names]
    oldest = received - _LATEST
    if min(times) < oldest:
        told = [name if at >= oldest else None for name, at in zip(names, times, strict=True)]
    if device == "bot" or is_nobodys(context):
        told = [None] * len(names)
    together = b"".join(properties)
    if _EDITOR in together or _DRIVEN in together:  # hardly ever
        told = [
            None if is_nobodys(orjson.loads(one)) else name
            for name, one in zip(told, properties, strict=True)
        ]
    if context.get(WIDGET) is False:
        told = [name and WITHOUT_WIDGET + name for name in told]
    news: News = (
        visitor or "",
        version_of(version),
        device,
        language_of(language) if isinstance(language := context.get(_LANGUAGE), str) else "",
        _product_of_text(product) or [_own_product(one) for one in properties],
        times,
        told,
    )
    return orjson.dumps(news)


def _add_title(titles: dict[str, tuple[int, str]], news: bytes, place: int, line: bytes) -> None:
    """What the event at that place calls its product, if it is somebody's; the newest stays."""
    *_, products, times, names = orjson.loads(news)
    product = products if isinstance(products, str) else products[place]
    if not product or names[place] is None:
        return
    title = orjson.loads(_json(line.split(b"\t", _PROPERTIES + 1)[_PROPERTIES])).get(_TITLE)
    if isinstance(title, str) and (words := " ".join(title.split())[:_MOST_TEXT]):
        titles[product] = max(titles.get(product, (times[place], words)), (times[place], words))


def _pack_titles(titles: dict[str, tuple[int, str]]) -> bytes:
    """Each product with the time in microseconds, and the title."""
    rows = [(product, *newest) for product, newest in titles.items()]
    return orjson.dumps(rows) if rows else b""


def _text(cell: str) -> str:
    if "\\" in cell:
        return "" if cell == r"\N" else unescape(cell)
    return cell


def _json(cell: bytes) -> bytes:
    if b"\\" in cell:
        return b"{}" if cell == _NULL else unescape(cell.decode()).encode()
    return cell


def _own_product(properties: bytes) -> str:
    if _PRODUCT_IN_LINE not in properties:
        return ""
    return product_of(orjson.loads(properties).get("product_id"))
