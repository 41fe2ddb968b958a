"""Each product, version, device or language of a range, read as sums over `report_counts`."""

from collections import defaultdict
from collections.abc import Collection
from operator import sub
from typing import NamedTuple

from psycopg import Connection

from app.counts.cells import unpack, unpack_parts
from app.counts.measures import ALL, LIKE, STEP_MEASURES, Dimension, Measure
from app.counts.period import Period, Shop
from app.counts.reading import Moments, Numbers, complete

_PARTS = 100  # unpacked at once
# What the comparison is made of.
_COMPARED = (Measure.EXPOSED, Measure.TRIED, Measure.TRIED_ADDED, Measure.UNTRIED_ADDED)
_STORED = {*_COMPARED, *(LIKE[measure] for measure in _COMPARED if measure in LIKE)}
_SHOWN = (Measure.VISITORS, *STEP_MEASURES)  # the first of all


class Group(NamedTuple):
    """Different visitors of a group, in all and by step of the funnel; and by step those of the
    days of which each attempt has had its window."""

    visitors: int
    steps: list[int]
    over: list[int]

    @property
    def rate(self) -> float | None:
        """Of those who saw the product page, the share that took the last step."""
        return self.over[-1] / self.over[0] if self.over[0] else None


def groups(
    connection: Connection, shop: Shop, period: Period, dimension: Dimension, of: Moments
) -> dict[int, Group]:
    """By value, the largest first; ALL and OTHERS are among them."""
    first, end = period.bounds
    all_days = _sums(connection, shop, dimension, "cells", (first, end), first)
    # A few days of many.
    later_days = (max(first, of.end_of_all_over), end)
    later = _sums(connection, shop, dimension, "cells", later_days, first)
    now = {value: numbers[: len(_SHOWN)] for value, numbers in all_days.items()}
    over = {
        value: list(map(sub, numbers, later[value])) if value in later else numbers
        for value, numbers in now.items()
    }
    for sums in (now, over):
        sums[ALL] = list(map(sum, zip(*sums.values(), strict=True))) or [0] * len(_SHOWN)
    ordered = sorted(now.items(), key=lambda one: (-one[1][0], one[0]))
    return {value: Group(all_, steps, over[value][1:]) for value, (all_, *steps) in ordered if all_}


def comparable(
    connection: Connection, shop: Shop, period: Period, dimension: Dimension, of: Moments
) -> dict[int, Numbers]:
    """What the comparison takes from each group, by value; of days of which each visitor has had
    their window. Without days that the release before has counted."""
    first, _ = period.bounds
    days = (first, of.end_of_all_over)
    sums = _sums(connection, shop, dimension, "cells || more", days, first, _STORED)
    for numbers in sums.values():
        complete(numbers)
    return {
        value: {measure: numbers[measure] for measure in _COMPARED}
        for value, numbers in sums.items()
    }


def _sums(
    connection: Connection,
    shop: Shop,
    dimension: Dimension,
    packed: str,
    days: tuple[int, int],
    first: int,
    wanted: Collection[int] | None = None,
) -> dict[int, list[int]]:
    """By value and measure, of what is `packed` on the days, in a range from `first`."""
    sums: defaultdict[int, list[int]] = defaultdict(lambda: [0] * len(Measure))
    # A product's days together: to have each row by itself takes longer than to add it up.
    rows = connection.execute(
        f"SELECT part, string_agg({packed}, '') FROM report_counts WHERE shop_id = %s"
        " AND dimension = %s AND day >= %s AND day < %s GROUP BY part".encode(),
        [shop.id, dimension, *days],
        binary=True,
    )
    while some := rows.fetchmany(_PARTS):
        parts = [part for part, _ in some]
        packed_parts = [cells or b"" for _, cells in some]
        if dimension is Dimension.PRODUCT:
            for part, cells in zip(parts, unpack_parts(packed_parts, wanted), strict=True):
                numbers = sums[part]
                for measure, previous, number in cells:
                    if previous >= first:
                        numbers[measure] += number
        else:
            for value, measure, previous, number in unpack(b"".join(packed_parts)):
                if previous >= first:
                    sums[value][measure] += number
    if dimension is Dimension.PRODUCT:
        sums.pop(ALL, None)  # all of them, as the release before has it
    return sums
