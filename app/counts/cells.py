"""The counts in Postgres: written as differences, many numbers packed into a row.

A row of a group keeps what a breakdown shows in `cells`, which is read of all values at once, and
all else in `more` and `times`, which are read of one value; cells are in the order of values.
"""

import sys
from array import array
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import compress, islice
from struct import Struct
from typing import NamedTuple

from psycopg import Connection

from app.counts.arrays import integers
from app.counts.measures import ALL, BROKEN_DOWN, GROUPS, LIKE, Measure


class Row(NamedTuple):
    """What a row of `report_counts` is found by."""

    shop_id: int
    dimension: int
    day: int
    part: int


# A number's place in its row: value, measure or time (app.counts.times), previous (day, or 0 where
# there is none).
Place = tuple[int, int, int]
Numbers = defaultdict[Place, int]
Cells = defaultdict[Row, Numbers]
_Packed = list[bytes | None]  # by column
_Alike = Iterator[tuple[int, int, int]]  # measure, previous, number

_CELL = Struct(">iBHi")  # big-endian, so that SQL can read and write it too
_TIME = Struct(">iHHi")  # a code instead of the measure
_LAST = max(Measure)

_UNNESTED = "%s::integer[], %s::smallint[], %s::integer[], %s::integer[]"
_COLUMNS = ("cells", "more", "times")
_STRUCTS = (_CELL, _CELL, _TIME)
_FIND = f"""
    SELECT number, {", ".join(_COLUMNS)} FROM unnest({_UNNESTED})
        WITH ORDINALITY AS wanted (shop_id, dimension, day, part, number)
    JOIN report_counts USING (shop_id, dimension, day, part)"""
# What has not changed is null here and stays as it is; nothing else is.
_CHANGE = f"""
    UPDATE report_counts AS counts SET
        {", ".join(f"{name} = coalesce(changed.{name}, counts.{name})" for name in _COLUMNS)}
    FROM unnest({_UNNESTED}, %b::bytea[], %b::bytea[], %b::bytea[])
        AS changed (shop_id, dimension, day, part, {", ".join(_COLUMNS)})
    WHERE (counts.shop_id, counts.dimension, counts.day, counts.part)
        = (changed.shop_id, changed.dimension, changed.day, changed.part)"""
_DELETE = f"""
    DELETE FROM report_counts AS counts
    USING unnest({_UNNESTED}) AS empty (shop_id, dimension, day, part)
    WHERE (counts.shop_id, counts.dimension, counts.day, counts.part)
        = (empty.shop_id, empty.dimension, empty.day, empty.part)"""


def new_cells() -> Cells:
    return defaultdict(lambda: defaultdict(int))


def add_cells(connection: Connection, cells: Cells) -> None:
    """Add the differences to what is counted; a cell that comes to 0 goes. The caller's transaction
    holds the locks of the shops, and has said by which definition it counts (app.counts.rollups).
    """
    changes = {row: numbers for row, numbers in cells.items() if any(numbers.values())}
    if not changes:
        return
    rows = sorted(changes)
    found: dict[int, _Packed] = {
        number: packed
        for number, *packed in connection.execute(
            _FIND.encode(), _keys(rows), binary=True
        ).fetchall()
    }
    new, changed, empty = [], [], []
    for number, row in enumerate(rows, start=1):
        parts = _split(row, changes[row])
        if number not in found:
            packed = [_pack(row, *both) for both in zip(_STRUCTS, parts, strict=True)]
            new.append((row, packed))
            continue
        before = found[number]
        now = [
            _changed(row, struct, packed, part) if part else None
            for struct, packed, part in zip(_STRUCTS, before, parts, strict=True)
        ]
        if any(old if one is None else one for old, one in zip(before, now, strict=True)):
            changed.append((row, now))
        else:
            empty.append(row)
    _write(connection, new, changed, empty)


def unpack(packed: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Value, measure, previous, number."""
    fields = (("i", 0), ("B", 4), ("H", 5), ("i", 7))
    return zip(*(_field(packed, _CELL, kind, at) for kind, at in fields), strict=True)


def unpack_alike(packed: bytes) -> _Alike:
    """Measure, previous, number, where the values are all the same or do not matter."""
    return zip(*_alike(packed), strict=True)


def unpack_parts(parts: Sequence[bytes], wanted: Collection[int] | None = None) -> Iterator[_Alike]:
    """The same of each part. Of all measures, or of the `wanted` ones: those are picked before
    anything is done with each cell, and of all parts at once."""
    fields: Iterable[Iterable[int]] = _alike(b"".join(parts))
    sizes = [len(part) // _CELL.size for part in parts]
    if wanted is not None:
        is_wanted = bytes(measure in wanted for measure in range(256))
        kept = [part[4 :: _CELL.size].translate(is_wanted) for part in parts]
        fields = [compress(field, b"".join(kept)) for field in fields]
        sizes = [of_part.count(1) for of_part in kept]
    cells = zip(*fields, strict=True)
    return (islice(cells, size) for size in sizes)


def _alike(packed: bytes) -> tuple[bytes, "array[int]", "array[int]"]:
    measures = packed[4 :: _CELL.size]
    return measures, _field(packed, _CELL, "H", 5), _field(packed, _CELL, "i", 7)


def unpack_scale(packed: bytes) -> Iterator[tuple[int, int, int]]:
    """Value and measure as one number of 16 bits, previous, number; of values below 256."""
    fields = (("H", 3), ("H", 5), ("i", 7))
    return zip(*(_field(packed, _CELL, kind, at) for kind, at in fields), strict=True)


def unpack_times(packed: bytes) -> Iterator[tuple[int, int, int]]:
    """Code, previous, number."""
    fields = (("H", 4), ("H", 6), ("i", 8))
    return zip(*(_field(packed, _TIME, kind, at) for kind, at in fields), strict=True)


def _field(packed: bytes, struct: Struct, kind: str, at: int) -> "array[int]":
    """One field of all cells: of many, sooner than the struct makes a tuple of each."""
    field = array(kind)
    size = field.itemsize
    raw = bytearray(len(packed) // struct.size * size)
    for place in range(size):
        raw[place::size] = packed[at + place :: struct.size]
    field.frombytes(raw)
    if sys.byteorder == "little":
        field.byteswap()
    return field


def of_value(value: int, cells: bytes, more: bytes | None) -> tuple[bytes, bytes | None]:
    """What is packed of one value, in both columns."""
    if more is None:  # counted by the release before, in any order
        wanted = value.to_bytes(4, signed=True)
        each = (cells[at : at + _CELL.size] for at in range(0, len(cells), _CELL.size))
        return b"".join([cell for cell in each if cell.startswith(wanted)]), None
    return _found(value, cells, _CELL), _found(value, more, _CELL)


def times_of_value(value: int, times: bytes) -> bytes:
    return _found(value, times, _TIME)


def unlike(cells: bytes) -> bytes:
    """What `more` would have where nothing of it was counted."""
    return b"".join([
        _CELL.pack(value, measure, previous, -number)
        for value, base, previous, number in unpack(cells)
        for measure, other in LIKE.items() if base == other
    ])  # fmt: skip


def _found(value: int, packed: bytes, struct: Struct) -> bytes:
    """Of cells in order."""

    def value_at(place: int) -> int:
        return int.from_bytes(packed[place * struct.size :][:4], signed=True)

    places = range(len(packed) // struct.size)
    first = bisect_left(places, value, key=value_at)
    end = bisect_right(places, value, key=value_at)
    return packed[first * struct.size : end * struct.size]


def _keys(rows: Iterable[Row]) -> list[str]:
    return [integers(column) for column in zip(*rows, strict=True)]


def _split(row: Row, numbers: Mapping[Place, int]) -> list[Mapping[Place, int]]:
    """By column."""
    if row.dimension not in GROUPS:
        return [numbers, {}, {}]
    parts: list[dict[Place, int]] = [{}, {}, {}]
    for place, number in numbers.items():
        _, measure, _ = place
        parts[0 if measure in BROKEN_DOWN else 1 if measure <= _LAST else 2][place] = number
    return list(parts)


def _changed(row: Row, struct: Struct, packed: bytes | None, changes: Mapping[Place, int]) -> bytes:
    cells = struct.iter_unpack(packed or b"")
    numbers = Counter({(value, measure, previous): n for value, measure, previous, n in cells})
    numbers.update(changes)
    return _pack(row, struct, numbers)


def _pack(row: Row, struct: Struct, numbers: Mapping[Place, int]) -> bytes:
    pack = struct.pack
    has_values = row.dimension in GROUPS and row.part == ALL
    cells = sorted(numbers.items()) if has_values else numbers.items()
    return b"".join([pack(*place, number) for place, number in cells if number])


def _line(row: Row, packed: Iterable[bytes]) -> str:
    return "\t".join([*map(str, row), *(f"\\\\x{one.hex()}" for one in packed)]) + "\n"


def _write(
    connection: Connection,
    new: list[tuple[Row, list[bytes]]],
    changed: list[tuple[Row, list[bytes | None]]],
    empty: list[Row],
) -> None:
    if new:
        columns = f"shop_id, dimension, day, part, {', '.join(_COLUMNS)}"
        statement = f"COPY report_counts ({columns}) FROM STDIN"
        with connection.cursor() as cursor, cursor.copy(statement.encode()) as copy:
            copy.write("".join(_line(row, packed) for row, packed in new))
    if changed:
        keys = _keys([row for row, _ in changed])
        columns_of_all = zip(*(packed for _, packed in changed), strict=True)
        connection.execute(_CHANGE.encode(), [*keys, *map(list, columns_of_all)])
    if empty:
        connection.execute(_DELETE.encode(), _keys(empty))
