"""What a page's batches share, stored once for all of them.

A context has two parts, which repeat in different ways: the browser's is the same for many pages
and visitors, the page's for many visitors. A part is known by a digest of its month and content, so
writers find it without asking. Ids of visitors, sessions and page views stay with the batch.

A writer remembers which parts there are. What deletes parts excludes writers for a moment, and says
so by a new generation (app/store/unused_contexts.py).
"""

import re
import threading
from collections.abc import Callable, Iterable, Mapping
from hashlib import blake2b
from typing import Any, NamedTuple

import orjson
from psycopg import Connection, sql

from app.batch.batch import BATCH_COLUMNS, unescape
from app.batch.json import dump_json

LOCK = 0x636F6E746578  # "contex": shared by those who write batches with parts

_BROWSER_COLUMNS = frozenset({"lib_version", "device_class", "browser", "os"})
_BROWSER_FIELDS = frozenset(
    {
        "$raw_user_agent", "$browser_language", "$timezone", "$screen_width", "$screen_height",
        "$viewport_width", "$viewport_height",
    }
)  # fmt: skip
# A batch's own: the time of its receipt, the customer, and these.
_IDS = ("client", "session", "pageview")
_OWN = 2 + len(_IDS)
_SHARED = BATCH_COLUMNS[_OWN:]
_CONTEXT = "context"
_UUID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_RECEIVED = re.compile(rb"\d{4}-\d\d-.*\+00:00")
_NULL = rb"\N"
_MOST_KNOWN = 100_000  # parts
_MOST_REMEMBERED = 16 * 1024 * 1024  # bytes of lines whose parts are remembered

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
    " ORDER BY shop_id, id ON CONFLICT DO NOTHING"
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


class Rows(NamedTuple):
    """Lines of COPY for batches, `narrow` in COLUMNS, `whole` in the order of BATCH_COLUMNS behind
    the shop and the id; `written` are the parts they need."""

    narrow: list[bytes]
    whole: list[bytes]
    written: set[Key]


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
    if connection.execute(_INSERT, [text]).rowcount == len(rows):
        return set()
    return set(connection.execute(_OTHERS, [text]).fetchall())


class Contexts:
    """Which parts there are, as far as this process knows. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._generation: int | None = None
        self._known: set[Key] = set()
        self._split: dict[tuple[bytes, bytes], Parts | None] = {}
        self._remembered = 0

    def rows(
        self,
        connection: Connection,
        generation: int | None,
        lines: Iterable[tuple[int, int, bytes]],
    ) -> Rows:
        """Of lines of batches, each with its shop's and its own id. Stores the parts that are
        missing in the caller's transaction, which has the shared lock and has read `generation`."""
        with self._lock:
            if generation != self._generation:
                self._known.clear()
                self._generation = generation
        whole: list[bytes] = []
        shared: list[tuple[int, int, list[bytes], Parts]] = []
        missing: dict[Key, Part] = {}
        for shop_id, id_, line in lines:
            cells = line.split(b"\t", _OWN)
            parts = self._parts(cells)
            if parts is None:
                whole.append(b"%d\t%d\t%b\n" % (shop_id, id_, line))
                continue
            shared.append((shop_id, id_, cells, parts))
            for part in parts:
                key = (shop_id, part.id, part.digest)
                if key not in self._known:
                    missing[key] = part
        others = insert(connection, ((key[0], part) for key, part in missing.items()))
        narrow = []
        for shop_id, id_, cells, (browser, page) in shared:
            if others and not others.isdisjoint(
                (shop_id, part.id, part.digest) for part in (browser, page)
            ):
                whole.append(b"%d\t%d\t%b\n" % (shop_id, id_, b"\t".join(cells)))
            else:
                narrow.append(_narrow(shop_id, id_, cells, browser.id, page.id))
        return Rows(narrow, whole, missing.keys() - others)

    def remember(self, generation: int | None, written: set[Key]) -> None:
        """Once they are committed."""
        with self._lock:
            if generation == self._generation:
                if len(self._known) > _MOST_KNOWN:
                    self._known.clear()
                self._known |= written

    def _parts(self, cells: list[bytes]) -> Parts | None:
        """Of a batch's line, split behind its own cells."""
        key = (cells[0][:7], cells[_OWN])
        try:
            return self._split[key]
        except KeyError:
            pass
        parts = _split(cells)
        with self._lock:
            self._remembered += len(key[1])
            if self._remembered > _MOST_REMEMBERED:
                self._split.clear()
                self._remembered = len(key[1])
            self._split[key] = parts
        return parts


def _split(cells: list[bytes]) -> Parts | None:
    """None where it cannot be shared: Postgres judges the row as it is."""
    rest = cells[_OWN].split(b"\t")
    if len(rest) != len(_SHARED) or not _RECEIVED.fullmatch(cells[0]):
        return None
    month = cells[0][:7].decode()
    try:
        values = {
            name: unescape(cell.decode())
            for name, cell in zip(_SHARED, rest, strict=True)
            if cell != _NULL
        }
        context = orjson.loads(values.pop(_CONTEXT))
        if type(context) is not dict:
            return None
        of_browser: Callable[[str], bool] = _BROWSER_FIELDS.__contains__
        browser = {name: context[name] for name in context if of_browser(name)}
        page = {name: context[name] for name in context if not of_browser(name)}
        return (
            part_of(
                month,
                "browser",
                {name: values[name] for name in values if name in _BROWSER_COLUMNS}
                | {_CONTEXT: browser},
            ),
            part_of(
                month,
                "page",
                {name: values[name] for name in values if name not in _BROWSER_COLUMNS}
                | {_CONTEXT: page},
            ),
        )
    except (KeyError, TypeError, ValueError):
        return None


def _narrow(shop_id: int, id_: int, cells: list[bytes], browser: int, page: int) -> bytes:
    texts, uuids = [], []
    for cell in cells[2:_OWN]:
        is_uuid = _UUID.fullmatch(cell) is not None
        texts.append(_NULL if is_uuid else cell)
        uuids.append(cell if is_uuid else _NULL)
    return b"%d\t%d\t%b\t%d\t%d\n" % (
        shop_id, id_, b"\t".join((*cells[:2], *texts, *uuids)), browser, page,
    )  # fmt: skip
