"""What a page's batches share, stored once for all of them.

A context has two parts, which repeat in different ways: the browser's is the same for many pages
and visitors, the page's for many visitors. A part is known by a digest of its month and content, so
writers find it without asking. Ids of visitors, sessions and page views stay with the batch.

A writer remembers which parts there are. What deletes parts excludes writers for a moment, and says
so by a new generation (app/store/unused_contexts.py).
"""

import re
import threading
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any, NamedTuple

import orjson
from psycopg import Connection, sql

from app.batch.batch import BATCH_COLUMNS, unescape
from app.batch.json import dump_json

LOCK = 0x636F6E746578  # "contex": shared by those who write batches with parts

_BROWSER_COLUMNS = ("lib_version", "device_class", "browser", "os")
_BROWSER_FIELDS = (
    "$raw_user_agent", "$browser_language", "$timezone", "$screen_width", "$screen_height",
    "$viewport_width", "$viewport_height",
)  # fmt: skip
# A batch's own: the time of its receipt, the customer, and these.
_IDS = ("client", "session", "pageview")
_OWN = 2 + len(_IDS)
_SHARED = BATCH_COLUMNS[_OWN:]
_CONTEXT = "context"
_NULL = rb"\N"
_UUID = rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_IS_UUID = re.compile(_UUID)
# A line as nearly all are: its own cells up to the ids, its month, the ids, and the rest.
_LINE = re.compile(
    rb"((\d{4}-\d\d)-[^\t]*\+00:00\t[^\t]*\t)(%b)\t(%b)\t(%b|\\N)\t([^\n]*)" % (_UUID, _UUID, _UUID)
)
_ANY_LINE = re.compile(
    rb"((\d{4}-\d\d)-[^\t]*\+00:00\t[^\t]*\t)([^\t]*)\t([^\t]*)\t([^\t]*)\t([^\n]*)"
)
_MOST_KNOWN = 100_000  # parts
_MOST_READY = 16 * 1024 * 1024  # bytes of lines that are remembered

COLUMNS = (
    "shop_id", "id", "received_at", "customer_id", *(f"{name}_id" for name in _IDS), *_IDS,
    "browser_part", "page_part",
)  # fmt: skip
_FIELDS = sql.SQL(", ").join(map(sql.Identifier, ("digest", "shop_id", "id", "month", *_SHARED)))
_TYPES = sql.SQL(", ").join(
    sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL("jsonb" if name == _CONTEXT else "text"))
    for name in _SHARED
)
# In one order for all writers, or two of them lock each other out.
_INSERT = sql.SQL(
    "INSERT INTO contexts ({fields}) SELECT {fields} FROM json_to_recordset(%s::json)"
    " AS part (digest bigint, shop_id integer, id integer, month date, {types})"
    " ORDER BY shop_id, id ON CONFLICT DO NOTHING RETURNING id"
).format(fields=_FIELDS, types=_TYPES)
_OTHERS = (
    "SELECT part.shop_id, id, part.digest FROM json_to_recordset(%s::json)"
    " AS part (digest bigint, shop_id integer, id integer)"
    " JOIN contexts USING (shop_id, id) WHERE contexts.digest <> part.digest"
)


class Part(NamedTuple):
    """Of a context; `id` and `digest` are 32 and 64 bits of one digest."""

    id: int
    digest: int
    month: str
    fields: Mapping[str, Any]  # by column


Key = tuple[int, int, int]  # of a shop's part: the shop, id, digest
Parts = tuple[Part, Part]
Line = tuple[int, bytes, bytes]  # what tells the parts of a batch: its shop, its month, the rest


class Rows(NamedTuple):
    """Lines of COPY for batches, `narrow` in COLUMNS, `whole` in the order of BATCH_COLUMNS behind
    the shop and the id; and what is known once they are committed."""

    narrow: list[bytes]
    whole: list[bytes]
    parts: set[Key]
    lines: dict[Line, bytes]


def part_of(month: str, kind: str, fields: Mapping[str, Any]) -> Part:
    """TypeError: it is nested too deep to be told from others."""
    content = orjson.dumps([month, kind, fields], option=orjson.OPT_SORT_KEYS)
    found = blake2b(content, digest_size=12).digest()
    return Part(
        int.from_bytes(found[:4], signed=True),
        int.from_bytes(found[4:], signed=True),
        month,
        fields,
    )


def insert(connection: Connection, parts: Iterable[tuple[int, Part]]) -> set[Key]:
    """Store shops' parts that are missing, within the caller's transaction, which has the lock.
    Returns those in whose place another one with the same id stands."""
    rows = [
        {"digest": part.digest, "shop_id": shop_id, "id": part.id, "month": f"{part.month}-01",
         **part.fields}
        for shop_id, part in parts
    ]  # fmt: skip
    if not rows:
        return set()
    text = dump_json(rows).decode()
    # Not the statement's own count: of rows that are spread over nodes, it has those left out too.
    if len(connection.execute(_INSERT, [text]).fetchall()) == len(rows):
        return set()
    return set(connection.execute(_OTHERS, [text]).fetchall())


class Contexts:
    """Which parts there are, as far as this process knows. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._generation: int | None = None
        self._known: set[Key] = set()
        self._ready: dict[Line, bytes] = {}  # the last cells of rows whose parts are known
        self._ready_bytes = 0

    def rows(
        self,
        connection: Connection,
        generation: int | None,
        lines: Iterable[tuple[int, int, bytes]],
    ) -> Rows:
        """Of lines of batches, each with its shop's and its own id. Stores the parts that are
        missing in the caller's transaction, which has the shared lock and has read `generation`."""
        self._begin(generation)
        narrow: list[bytes] = []
        whole: list[bytes] = []
        new: list[tuple[int, int, bytes, re.Match[bytes], Line]] = []
        for shop_id, id_, line in lines:
            found = _LINE.fullmatch(line) or _ANY_LINE.fullmatch(line)
            if not found:
                whole.append(b"%d\t%d\t%b\n" % (shop_id, id_, line))
                continue
            key = (shop_id, found[2], found[6])
            if end := self._ready.get(key):
                narrow.append(_narrow(id_, shop_id, found, end))
            else:
                new.append((len(narrow), id_, line, found, key))
                narrow.append(b"")  # in the order of the ids, or their index grows by a half
        split = {key: _split(key[1].decode(), key[2]) for key in {key for *_, key in new}}
        parts = {
            (key[0], part.id, part.digest): part
            for key, both in split.items()
            for part in both or ()
        }
        missing = parts.keys() - self._known
        others = insert(connection, ((key[0], parts[key]) for key in missing))
        ends = {
            key: b"%d\t%d\n" % (both[0].id, both[1].id)
            for key, both in split.items()
            if both and not any((key[0], part.id, part.digest) in others for part in both)
        }
        for place, id_, line, found, key in new:
            if key in ends:
                narrow[place] = _narrow(id_, key[0], found, ends[key])
            else:
                whole.append(b"%d\t%d\t%b\n" % (key[0], id_, line))
        return Rows(narrow, whole, missing - others, ends)

    def remember(self, generation: int | None, rows: Rows) -> None:
        """Once they are committed."""
        with self._lock:
            if generation != self._generation:
                return
            if len(self._known) > _MOST_KNOWN:
                self._known.clear()
            if self._ready_bytes > _MOST_READY:
                self._ready.clear()
                self._ready_bytes = 0
            self._known |= rows.parts
            self._ready |= rows.lines
            self._ready_bytes += sum(len(rest) for _, _, rest in rows.lines)

    def _begin(self, generation: int | None) -> None:
        with self._lock:
            if generation != self._generation:
                self._known.clear()
                self._ready.clear()
                self._ready_bytes = 0
                self._generation = generation


def _split(month: str, rest: bytes) -> Parts | None:
    """None where it cannot be shared: Postgres judges the row as it is."""
    cells = rest.decode(errors="surrogateescape").split("\t")
    if len(cells) != len(_SHARED):
        return None
    try:
        page = {
            name: unescape(cell) for name, cell in zip(_SHARED, cells, strict=True) if cell != r"\N"
        }
        fields = orjson.loads(page.pop(_CONTEXT))
        if type(fields) is not dict:
            return None
        browser: dict[str, Any] = {
            name: page.pop(name) for name in _BROWSER_COLUMNS if name in page
        }
        browser[_CONTEXT] = {name: fields.pop(name) for name in _BROWSER_FIELDS if name in fields}
        return part_of(month, "browser", browser), part_of(
            month, "page", {**page, _CONTEXT: fields}
        )
    except (KeyError, TypeError, ValueError):
        return None


def _narrow(id_: int, shop_id: int, line: re.Match[bytes], end: bytes) -> bytes:
    own, _, *ids, _ = line.groups()
    if line.re is _LINE:
        texts, uuids = b"\\N\t\\N\t\\N", b"\t".join(ids)
    else:
        is_uuid = [_IS_UUID.fullmatch(cell) is not None for cell in ids]
        texts = b"\t".join(
            _NULL if known else cell for known, cell in zip(is_uuid, ids, strict=True)
        )
        uuids = b"\t".join(
            cell if known else _NULL for known, cell in zip(is_uuid, ids, strict=True)
        )
    return b"%d\t%d\t%b%b\t%b\t%b" % (shop_id, id_, own, texts, uuids, end)
