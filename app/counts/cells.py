"""The counts in Postgres: written as differences, many numbers packed into a row."""

import struct
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from psycopg import Connection

from app.counts.arrays import byteas, integers
from app.counts.measures import COUNTED


class Row(NamedTuple):
    """What a row of `report_counts` is found by."""

    shop_id: int
    dimension: int
    day: int
    part: int


# A number's place in its row: value, measure, previous (day, or 0 where there is none).
Place = tuple[int, int, int]
Cells = defaultdict[Row, Counter[Place]]

_CELL = struct.Struct(">iBHi")  # big-endian, so that SQL can read and write it too

_UNNESTED = "%s::integer[], %s::smallint[], %s::integer[], %s::integer[]"
_FIND = f"""
    SELECT number, cells FROM unnest({_UNNESTED})
        WITH ORDINALITY AS wanted (shop_id, dimension, day, part, number)
    JOIN report_counts USING (shop_id, dimension, day, part)"""
_CHANGE = f"""
    UPDATE report_counts AS counts SET cells = changed.cells
    FROM unnest({_UNNESTED}, %s::bytea[]) AS changed (shop_id, dimension, day, part, cells)
    WHERE (counts.shop_id, counts.dimension, counts.day, counts.part)
        = (changed.shop_id, changed.dimension, changed.day, changed.part)"""
_DELETE = f"""
    DELETE FROM report_counts AS counts
    USING unnest({_UNNESTED}) AS empty (shop_id, dimension, day, part)
    WHERE (counts.shop_id, counts.dimension, counts.day, counts.part)
        = (empty.shop_id, empty.dimension, empty.day, empty.part)"""


def new_cells() -> Cells:
    return defaultdict(Counter)


def add_cells(connection: Connection, cells: Cells) -> None:
    """Add the differences to what is counted; a cell that comes to 0 goes. The caller's transaction
    holds the locks of the shops."""
    changes = {row: numbers for row, numbers in cells.items() if any(numbers.values())}
    if not changes:
        return
    # A trigger marks the shops of a release that counts otherwise.
    connection.execute("SELECT set_config('genlook.definition', %s, true)", [str(COUNTED)])
    rows = sorted(changes)
    found: dict[int, bytes] = dict(
        connection.execute(_FIND.encode(), _keys(rows), binary=True).fetchall()
    )
    new, changed, empty = [], [], []
    for number, row in enumerate(rows, start=1):
        if number not in found:
            new.append((row, _pack(changes[row])))
            continue
        numbers = Counter({(value, measure, previous): n
                           for value, measure, previous, n in unpack(found[number])})  # fmt: skip
        numbers.update(changes[row])
        if packed := _pack(numbers):
            changed.append((row, packed))
        else:
            empty.append(row)
    _write(connection, new, changed, empty)


def unpack(packed: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Value, measure, previous, number."""
    return _CELL.iter_unpack(packed)


def _keys(rows: Iterable[Row]) -> list[str]:
    return [integers(column) for column in zip(*rows, strict=True)]


def _line(shop_id: int, dimension: int, day: int, part: int, packed: bytes) -> str:
    return f"{shop_id}\t{dimension}\t{day}\t{part}\t\\\\x{packed.hex()}\n"


def _pack(numbers: Mapping[Place, int]) -> bytes:
    pack = _CELL.pack
    return b"".join([pack(*place, number) for place, number in numbers.items() if number])


def _write(
    connection: Connection,
    new: list[tuple[Row, bytes]],
    changed: list[tuple[Row, bytes]],
    empty: list[Row],
) -> None:
    if new:
        statement = "COPY report_counts (shop_id, dimension, day, part, cells) FROM STDIN"
        with connection.cursor() as cursor, cursor.copy(statement) as copy:
            copy.write("".join(_line(*row, packed) for row, packed in new))
    if changed:
        keys = _keys([row for row, _ in changed])
        connection.execute(_CHANGE.encode(), [*keys, byteas(packed for _, packed in changed)])
    if empty:
        connection.execute(_DELETE.encode(), _keys(empty))
