"""An accepted batch on its way to Postgres, in the form in which it is stored.

The web process renders each row once, as a line of COPY's text format without the ids that only
the database knows (shop_id, batch_id). The journals carry the lines as they are, and the writer
puts the ids in front: nothing is parsed or rendered twice. A line holds no newline of its own
(COPY escapes it), so lines are kept joined by newlines.
Source: https://www.postgresql.org/docs/current/sql-copy.html#id-1.9.3.55.9.2
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any, Self

import orjson

from app.batch.form import Form, NewerEntry
from app.batch.json import dump_json

BATCH_COLUMNS = (
    "received_at",
    "customer_id",
    "client_id",
    "session_id",
    "pageview_id",
    "product_id",
    "variant_id",
    "lib_version",
    "current_url",
    "context",
    "device_class",
    "browser",
    "os",
)
EVENT_COLUMNS = (
    "occurred_at",
    "insert_key",
    "sent_timestamp",
    "event",
    "insert_id",
    "properties",
    "extra",
)

# Journals outlive a release: a worker stores what the release before it has accepted, and leaves
# alone what a newer one has. The fields `v` and `shop` are in the entries of every version.
VERSION = 1
FORM = Form(VERSION, len(BATCH_COLUMNS), len(EVENT_COLUMNS))

_CLOCK_TOLERANCE = timedelta(hours=1)
_EARLIEST = datetime.min.replace(tzinfo=UTC)
_NULL = rb"\N"
_EMPTY = b"{}"
_SPECIAL = re.compile(rb"[\\\t\n\r\0]")
_ESCAPED = re.compile(r"\\(.)")
_ESCAPES = {"t": "\t", "n": "\n", "r": "\r"}
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)
_CONTEXT = BATCH_COLUMNS.index("context")
_FEWEST_EVENT_COLUMNS = 7  # of the first release


class UnreadableEntry(ValueError):
    """A journal's entry that is not a batch of this or an earlier release."""


@dataclass(slots=True)
class Event:
    """A valid event before it is rendered; times are in UTC, `properties` and `extra` are JSON."""

    name: str
    insert_id: str
    timestamp: datetime
    properties: bytes
    extra: bytes


@dataclass(slots=True)
class Context:
    """What a batch's events share: the fields with a column of their own, and the rest as JSON."""

    columns: Mapping[str, str] = field(default_factory=dict)
    rest: bytes = b"{}"
    fields: Mapping[str, Any] | None = None  # all of them, as sent


@dataclass(slots=True)
class Rejected:
    """What failed validation: an event, or with `index` None the body as a whole."""

    index: int | None
    code: str
    details: list[dict[str, str]]
    payload: str


@dataclass(slots=True)
class Batch:
    """What a journal carries. `line` and `rejected` are rendered, `events` holds a line for each
    event; `line` is empty where no event is valid. The stream alone keeps the last two: what the
    reports need of them (app.batch.news), and the name of a request's span, if it is traced."""

    shop: str
    line: bytes = b""
    events: list[bytes] = field(default_factory=list)
    rejected: bytes = b""
    news: bytes = field(default=b"", repr=False, compare=False)
    trace: bytes = field(default=b"", repr=False, compare=False)
    _keys: list[bytes] | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def keys(self) -> list[bytes]:
        """The 16-byte insert key of each event. UnreadableEntry where a line has none."""
        if self._keys is None:  # the worker stores what it has read without asking
            try:
                self._keys = [_key_of(line) for line in self.events]
            except ValueError as error:
                raise UnreadableEntry(str(error)) from error
        return self._keys

    @classmethod
    def build(
        cls,
        *,
        shop: str,
        customer_id: str | None,
        received_at: datetime,
        context: Context,
        events: list[Event],
        rejected: list[Rejected],
    ) -> Self:
        """Render a request. Of events with the same id the first is kept."""
        batch = cls(shop)
        if events:
            batch.line = _batch_line(received_at, customer_id, context)
        ahead = _clock_ahead(events, received_at)
        lines: dict[bytes, bytes] = {}
        for event in events:
            key, key_cell, id_cell = _identity(event.insert_id)
            if key not in lines:
                lines[key] = _event_line(event, key_cell, id_cell, ahead)
        batch._keys, batch.events = list(lines), list(lines.values())
        if rejected:
            sent = context.fields
            batch.rejected = orjson.dumps(
                {
                    "received_at": received_at.isoformat(),
                    "customer_id": customer_id,
                    "context": None if sent is None else dump_json(sent).decode(),
                    "items": rejected,
                }
            )
        return batch

    def to_entry(self) -> dict[bytes, bytes]:
        return {
            b"v": b"%d" % VERSION,
            b"shop": self.shop.encode(),
            b"batch": self.line,
            b"events": b"\n".join(self.events),
            b"rejected": self.rejected,
        }

    @classmethod
    def from_entry(cls, entry: Mapping[bytes, bytes]) -> Self:
        """NewerEntry; UnreadableEntry where it does not have the form of `to_entry`."""
        try:
            form = FORM if _is_of_this_form(entry) else form_of(entry)
            if form.version > VERSION:  # nothing else is known of it
                raise NewerEntry(form)
            line, text = entry[b"batch"], entry[b"events"]
            events = text.split(b"\n") if text else []
            shop, rejected = entry[b"shop"].decode(), entry[b"rejected"]
        except (KeyError, ValueError) as error:
            raise UnreadableEntry(str(error)) from error
        if form is not FORM:
            if not form.is_readable_by(FORM):
                raise NewerEntry(form)
            line = _complete(line, FORM.batch_columns - form.batch_columns)
            missing = FORM.event_columns - form.event_columns
            events = [_complete(event, missing) for event in events]
        batch = cls(shop, line, events, rejected=rejected)
        batch.news, batch.trace = entry.get(b"news", b""), entry.get(b"trace", b"")
        return batch


def form_of(entry: Mapping[bytes, bytes]) -> Form:
    """The form of a journal's entry. UnreadableEntry, KeyError, ValueError."""
    version = int(entry[b"v"])
    if version > VERSION:
        return Form(version, 0, 0)
    if version < VERSION:
        raise UnreadableEntry(f"there never was a version {version}")
    events = entry[b"events"]
    return _form_of(entry[b"batch"], events, events.count(b"\n") + 1 if events else 0)


def _is_of_this_form(entry: Mapping[bytes, bytes]) -> bool:
    """As nearly all are; asked before `form_of`, which costs more. KeyError."""
    if entry[b"v"] != b"%d" % VERSION:
        return False
    line, events = entry[b"batch"], entry[b"events"]
    tabs = (events.count(b"\n") + 1) * (FORM.event_columns - 1)
    return line.count(b"\t") == FORM.batch_columns - 1 and events.count(b"\t") == tabs


def _form_of(line: bytes, events: bytes, number: int) -> Form:
    """Of a batch's line and its `number` lines of events; without lines, this release's own."""
    columns, rest = divmod(events.count(b"\t"), number) if number else (FORM.event_columns - 1, 0)
    if rest or columns + 1 < _FEWEST_EVENT_COLUMNS:
        raise UnreadableEntry("its events have a different number of columns")
    batch_columns = line.count(b"\t") + 1 if line else FORM.batch_columns
    return Form(VERSION, batch_columns, columns + 1)


def _complete(line: bytes, missing: int) -> bytes:
    """A line with nulls for the columns that an earlier release did not have."""
    return line + b"\t\\N" * missing if line else line


def _identity(insert_id: str) -> tuple[bytes, bytes, bytes]:
    """The insert key and the cells `insert_key` and `insert_id`. The key is 16 bytes that stand
    for an id within its shop, in Redis and in Postgres: the bytes of a UUID, a digest of others."""
    text = insert_id.encode()
    if _UUID.fullmatch(insert_id):  # the id is its own key, and stored once
        return bytes.fromhex(insert_id.replace("-", "")), text, _NULL
    key = digest(insert_id)
    return key, key.hex().encode(), text.replace(b"\\", b"\\\\")


def digest(text: str) -> bytes:
    """16 bytes."""
    return blake2b(text.encode(), digest_size=16).digest()


def unescape(cell: str) -> str:
    """The text of a cell that is not null."""
    if "\\" not in cell:
        return cell
    return _ESCAPED.sub(lambda found: _ESCAPES.get(found[1], found[1]), cell)


def _key_of(line: bytes) -> bytes:
    return bytes.fromhex(line.split(b"\t", 2)[1].replace(b"-", b"").decode())


def _clock_ahead(events: list[Event], received_at: datetime) -> timedelta:
    """How far the caller's clock runs ahead, where that is too much to be believed; else zero."""
    latest = max((event.timestamp for event in events), default=received_at)
    ahead = latest - received_at
    return ahead if ahead > _CLOCK_TOLERANCE else timedelta()


def _event_line(event: Event, key_cell: bytes, id_cell: bytes, ahead: timedelta) -> bytes:
    # Names, times, keys, ids and JSON have no control characters: a backslash is the only thing in
    # them that COPY would take for its own.
    sent = _NULL
    occurred_at = event.timestamp
    if ahead:
        sent = event.timestamp.isoformat().encode()
        occurred_at = event.timestamp - min(ahead, event.timestamp - _EARLIEST)
    cells = (
        orjson.dumps(occurred_at)[1:-1],  # as isoformat(), at a third of its cost
        key_cell,
        sent,
        event.name.encode(),
        id_cell,
        _NULL if event.properties == _EMPTY else event.properties.replace(b"\\", b"\\\\"),
        _NULL if event.extra == _EMPTY else event.extra.replace(b"\\", b"\\\\"),
    )
    return b"\t".join(cells)


def _batch_line(received_at: datetime, customer_id: str | None, context: Context) -> bytes:
    values = {
        **context.columns,
        "received_at": received_at.isoformat(),
        "customer_id": customer_id,
    }
    texts = [values.get(column) for column in BATCH_COLUMNS]
    cells = [_NULL if text is None else _escape(text.encode()) for text in texts]
    cells[_CONTEXT] = context.rest.replace(b"\\", b"\\\\")
    return b"\t".join(cells)


def _escape(value: bytes) -> bytes:
    if not _SPECIAL.search(value):
        return value
    value = value.replace(b"\0", "\ufffd".encode())  # the body is repaired; the query is not
    value = value.replace(b"\\", b"\\\\").replace(b"\t", b"\\t")
    return value.replace(b"\n", b"\\n").replace(b"\r", b"\\r")
