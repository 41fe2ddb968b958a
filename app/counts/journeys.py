"""Each visitor's events, packed, so that their part of the counts can be worked out again."""

import struct
from collections.abc import Collection, Iterator, Mapping, Sequence
from uuid import UUID

from psycopg import Connection

from app.counts.measures import Event

Visitor = tuple[int, UUID | None]  # shop, digest
# None: of a robot, which has sent more than MOST_EVENTS; all of them count as events only.
Journey = Sequence[Event] | None

MOST_EVENTS = 50_000
_AT_ONCE = 20_000  # visitors

_EVENT = struct.Struct("<q6i")


def kept(events: Sequence[Event]) -> Journey:
    """What is kept of a visitor who did `events`."""
    return events if len(events) <= MOST_EVENTS else None


def read(connection: Connection, visitors: Collection[Visitor]) -> dict[Visitor, Journey]:
    """The events of each visitor in the order of time; visitors without any are left out."""
    if not visitors:
        return {}
    with connection.transaction():
        _copy(connection, "wanted", "shop_id integer, visitor uuid", visitors)
        rows = connection.execute(
            "SELECT shop_id, visitor, events FROM wanted JOIN report_journeys"
            " USING (shop_id, visitor)",
            binary=True,
        ).fetchall()
        connection.execute("DROP TABLE wanted")
    return {(shop_id, visitor): _unpack(packed) for shop_id, visitor, packed in rows}


def write(connection: Connection, journeys: Mapping[Visitor, Journey]) -> None:
    """Replace what is kept of these visitors; of one without events nothing is."""
    rows = []
    for (shop_id, visitor), events in journeys.items():
        if events is None or events:
            rows.append((shop_id, visitor, _pack(events or ())))
        else:
            connection.execute(
                "DELETE FROM report_journeys WHERE shop_id = %s AND visitor = %s",
                [shop_id, visitor],
            )
    if not rows:
        return
    with connection.transaction():
        _copy(connection, "written", "shop_id integer, visitor uuid, events bytea", rows)
        connection.execute(
            "INSERT INTO report_journeys (shop_id, visitor, events)"
            " SELECT shop_id, visitor, events FROM written"
            " ON CONFLICT (shop_id, visitor) DO UPDATE SET events = excluded.events"
        )
        connection.execute("DROP TABLE written")


def read_all(connection: Connection) -> Iterator[list[tuple[Visitor, Journey]]]:
    """All that is kept, some at a time; they may be written while they are read."""
    with connection.cursor(name="journeys", binary=True) as cursor:
        cursor.execute("SELECT shop_id, visitor, events FROM report_journeys")
        while rows := cursor.fetchmany(_AT_ONCE):
            yield [((shop_id, visitor), _unpack(packed)) for shop_id, visitor, packed in rows]


def delete(connection: Connection, shop_id: int, visitors: Sequence[UUID]) -> None:
    connection.execute(
        "DELETE FROM report_journeys WHERE shop_id = %s AND visitor = ANY(%s)",
        [shop_id, list(visitors)],
    )


def _pack(events: Sequence[Event]) -> bytes:
    return b"".join([_EVENT.pack(*event) for event in events])


def _unpack(packed: bytes) -> Journey:
    return [Event(*fields) for fields in _EVENT.iter_unpack(packed)] if packed else None


def _copy(
    connection: Connection, table: str, columns: str, rows: Collection[tuple[object, ...]]
) -> None:
    connection.execute(f"CREATE TEMP TABLE {table} ({columns}) ON COMMIT DROP".encode())
    types = [column.split()[1] for column in columns.split(", ")]
    with (
        connection.cursor() as cursor,
        cursor.copy(f"COPY {table} FROM STDIN (FORMAT binary)".encode()) as copy,
    ):
        copy.set_types(types)
        for row in rows:
            copy.write_row(row)
