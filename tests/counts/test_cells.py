"""Packed numbers are read field by field: what comes out is what went in."""

from struct import Struct

from hypothesis import given
from hypothesis import strategies as st

from app.counts.cells import unpack, unpack_alike, unpack_parts, unpack_scale, unpack_times

_NUMBER = st.integers(-(2**31), 2**31 - 1)
_CELL = st.tuples(_NUMBER, st.integers(0, 255), st.integers(0, 2**16 - 1), _NUMBER)
_TIME = st.tuples(_NUMBER, *[st.integers(0, 2**16 - 1)] * 2, _NUMBER)


def packed(form, cells):
    return b"".join(Struct(form).pack(*cell) for cell in cells)


@given(st.lists(_CELL))
def test_each_cell_comes_out_with_all_its_fields_or_without_its_value(cells):
    assert list(unpack(packed(">iBHi", cells))) == cells
    assert list(unpack_alike(packed(">iBHi", cells))) == [cell[1:] for cell in cells]


@given(st.lists(_TIME))
def test_each_time_comes_out_without_its_value(times):
    assert list(unpack_times(packed(">iHHi", times))) == [time[1:] for time in times]


@given(st.lists(_CELL))
def test_on_a_scale_value_and_measure_are_one_number(cells):
    cells = [(value % 256, *rest) for value, *rest in cells]
    assert list(unpack_scale(packed(">iBHi", cells))) == [
        (value << 8 | measure, *rest) for value, measure, *rest in cells
    ]


@given(st.lists(st.lists(_CELL, max_size=5)), st.none() | st.sets(st.integers(0, 255)))
def test_of_each_part_the_wanted_measures_come_out(parts, wanted):
    found = unpack_parts([packed(">iBHi", cells) for cells in parts], wanted)
    assert [list(cells) for cells in found] == [
        [cell[1:] for cell in cells if wanted is None or cell[1] in wanted] for cells in parts
    ]
