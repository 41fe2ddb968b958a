"""Each visitor's events, packed, so that their part of the counts can be worked out again."""

import struct
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import starmap

from psycopg import Connection

from app.counts.arrays import integers, uuids
from app.counts.measures import Event

Visitor = tuple[int, str]  # shop, digest as 32 hexadecimal digits
# Packed events in the order of time. None: of a robot, which has sent more than MOST_EVENTS; all of
# them count as events only.
Journey = bytes | None

MOST_EVENTS = 1_000
_SMALL = 2_000  # bytes of a journey
_AT_ONCE = 20  # larger ones, with what comes of them: 50 MB at most

# Big-endian, so that the bytes of events from 1970 on are in the order of the events, and SQL finds
# an old journey by its first 8 bytes.
_EVENT = struct.Struct(">qBiiiii")
_HEAD = struct.Struct(">qBi")  # an event's time, kind and day
_VALUES = struct.Struct(">iiii")
SIZE = _EVENT.size
KIND = 8  # an event's byte with its kind; what follows is its day and its values

_JOIN = """
    FROM unnest(%s::integer[], %s::uuid[]) WITH ORDINALITY AS wanted (shop_id, visitor, number)
    JOIN report_visitors USING (shop_id, visitor)"""
# The small ones and the first of the large.
_FIND = f"""
    SELECT number, CASE WHEN octet_length(events) <= {_SMALL}
        OR count(*) FILTER (WHERE octet_length(events) > {_SMALL}) OVER (ORDER BY number) <= %s
        THEN events END {_JOIN}"""
_READ = f"SELECT number, events {_JOIN}"
_REPLACE = """
    UPDATE report_visitors AS kept SET events = written.events
    FROM unnest(%s::integer[], %s::uuid[], %b::bytea[]) AS written (shop_id, visitor, events)
    WHERE (kept.shop_id, kept.visitor) = (written.shop_id, written.visitor)"""


def pack_heads(times: Iterable[int], kinds: Iterable[int], days: Iterable[int]) -> list[bytes]:
    """The beginning of each event, up to its day."""
    return list(map(_HEAD.pack, times, kinds, days))


def pack_values(values: Iterable[int]) -> bytes:
    """The rest of an event."""
    return _VALUES.pack(*values)


def with_new(journey: bytes, new: list[bytes]) -> bytes:
    """The journey with new events, each packed."""
    new.sort()
    if journey[-SIZE:] <= new[0] and new[-1][0] < 128 and journey[:1] < b"\x80":
        return b"".join((journey, *new))
    return pack(sorted(unpack(b"".join((journey, *new)))))


def pack(events: Iterable[Event]) -> bytes:
    return b"".join(starmap(_EVENT.pack, events))


def unpack(packed: bytes) -> list[Event]:
    make = tuple.__new__  # half as dear as Event(...)
    return [make(Event, fields) for fields in _EVENT.iter_unpack(packed)]


def time_at(journey: bytes, place: int) -> int:
    """Of the event at that place from 0, in microseconds."""
    return int.from_bytes(journey[place * SIZE : place * SIZE + KIND], signed=True)


def kept(events: Sequence[Event]) -> Journey:
    """What is kept of a visitor who did `events`."""
    return pack(events) if len(events) <= MOST_EVENTS else None


def read(
    connection: Connection, visitors: Collection[Visitor]
) -> Iterator[list[tuple[Visitor, Journey]]]:
    """What is kept of each visitor; most of those with long journeys come last, a few at a time. No
    events: nothing is kept."""
    wanted = list(visitors)
    found = _select(connection, _FIND, wanted, _AT_ONCE)
    large = [visitor for visitor, packed in found.items() if packed is None]
    yield [
        (visitor, b"" if packed is None else packed or None)
        for visitor in wanted
        if (packed := found.get(visitor)) is not None or visitor not in found
    ]
    for start in range(0, len(large), _AT_ONCE):
        some = _select(connection, _READ, large[start : start + _AT_ONCE])
        yield [(visitor, packed or None) for visitor, packed in some.items()]


def write(
    connection: Connection, journeys: Mapping[Visitor, Journey], known: Collection[Visitor]
) -> None:
    """Replace what is kept of these visitors, of whom something is kept if they are `known`; of one
    without events nothing is."""
    gone = [visitor for visitor, events in journeys.items() if events is not None and not events]
    for shop_id in {shop_id for shop_id, _ in gone}:
        delete(connection, shop_id, [visitor for shop, visitor in gone if shop == shop_id])
    new: list[tuple[Visitor, bytes]] = []
    changed: list[tuple[Visitor, bytes]] = []
    for visitor, events in journeys.items():
        if events is None or events:
            (changed if visitor in known else new).append((visitor, events or b""))
    if new:
        statement = "COPY report_visitors (shop_id, visitor, events) FROM STDIN"
        with connection.cursor() as cursor, cursor.copy(statement) as copy:
            copy.write("".join(_line(*visitor, packed) for visitor, packed in new))
    if changed:
        keys = _keys([visitor for visitor, _ in changed])
        connection.execute(_REPLACE.encode(), [*keys, [packed for _, packed in changed]])


def delete(connection: Connection, shop_id: int, visitors: Sequence[str]) -> None:
    connection.execute(
        "DELETE FROM report_visitors WHERE shop_id = %s AND visitor = ANY(%s::uuid[])",
        [shop_id, uuids(visitors)],
    )


def read_older(
    connection: Connection, shop_id: int, oldest: int
) -> Iterator[list[tuple[Visitor, bytes]]]:
    """Of visitors with an event before `oldest`, in microseconds; some at a time. They may be
    written while they are read."""
    with connection.cursor(name="journeys", binary=True) as cursor:
        cursor.execute(
            "SELECT replace(visitor::text, '-', ''), events FROM report_visitors"
            " WHERE shop_id = %s AND events <> ''"
            " AND (substring(events FOR 8) < int8send(%s) OR get_byte(events, 0) >= 128)",
            [shop_id, oldest],
        )
        while rows := cursor.fetchmany(_AT_ONCE):
            yield [((shop_id, visitor), packed) for visitor, packed in rows]


def _select(
    connection: Connection, statement: str, visitors: Sequence[Visitor], *more: int
) -> dict[Visitor, bytes | None]:
    parameters = [*more, *_keys(visitors)]
    rows = connection.execute(statement.encode(), parameters, binary=True).fetchall()
    return {visitors[number - 1]: packed for number, packed in rows}


def _line(shop_id: int, visitor: str, packed: bytes) -> str:
    return f"{shop_id}\t{visitor}\t\\\\x{packed.hex()}\n"


def _keys(visitors: Sequence[Visitor]) -> list[str]:
    return [integers(shop for shop, _ in visitors), uuids(visitor for _, visitor in visitors)]
