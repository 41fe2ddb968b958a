"""Each product, version, device or language of a range, read as sums over `report_counts`."""

from collections import Counter, defaultdict
from operator import add
from typing import NamedTuple

from psycopg import Connection

from app.counts.cells import unpack
from app.counts.measures import ALL, OTHERS, STEP_MEASURES, Dimension, Measure
from app.counts.period import Period, Shop
from app.counts.reading import Moments, Numbers, by_name, complete


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
    """By value, the largest first; after ALL, and with OTHERS as the last."""
    first, end = period.bounds
    end_of_over = of.end_of_all_over
    is_product = dimension is Dimension.PRODUCT
    both: tuple[dict[int, list[int]], dict[int, list[int]]] = ({}, {})  # over, and later
    # A product's days together: to have each row by itself takes longer than to add it up.
    rows = connection.execute(
        "SELECT part, string_agg(cells, '') FILTER (WHERE day < %(over)s),"
        " string_agg(cells, '') FILTER (WHERE day >= %(over)s) FROM report_counts"
        " WHERE shop_id = %(shop)s AND dimension = %(dimension)s AND day >= %(first)s"
        " AND day < %(end)s GROUP BY part",
        {"shop": shop.id, "dimension": dimension, "first": first, "end": end, "over": end_of_over},
        binary=True,
    )
    for of_part, *cells in rows.fetchall():
        if is_product and of_part == ALL:  # all of them, as the release before has it
            continue
        for sums, packed in zip(both, cells, strict=True):
            _add_up(sums, packed or b"", first, of_part if is_product else None)
    over, later = both
    for sums in both:
        sums[ALL] = [sum(numbers) for numbers in zip(*sums.values(), _none(), strict=True)]
    now = {
        value: list(map(add, over.get(value, _none()), later.get(value, _none())))
        for value in over.keys() | later.keys()
    }
    ordered = sorted(
        now.items(), key=lambda one: (one[0] != ALL, one[0] == OTHERS, -one[1][0], one[0])
    )
    return {
        value: Group(all_, steps, over.get(value, _none())[1:])
        for value, (all_, *steps) in ordered
        if all_
    }


def comparable(
    connection: Connection, shop: Shop, period: Period, dimension: Dimension, of: Moments
) -> dict[int, Numbers]:
    """What the comparison takes from each group, by value; of days of which each visitor has had
    their window. Without days that the release before has counted."""
    first, _ = period.bounds
    is_product = dimension is Dimension.PRODUCT
    sums: defaultdict[int, list[int]] = defaultdict(lambda: [0] * len(Measure))
    for of_part, packed in connection.execute(
        "SELECT part, string_agg(cells, '') || string_agg(more, '') FROM report_counts"
        " WHERE shop_id = %s AND dimension = %s AND day >= %s AND day < %s AND more IS NOT NULL"
        " GROUP BY part",
        [shop.id, dimension, first, of.end_of_all_over],
        binary=True,
    ).fetchall():
        numbers = sums[of_part]
        for value, measure, previous, number in unpack(packed):
            if previous >= first:
                if not is_product:
                    numbers = sums[value]
                numbers[measure] += number
    found = {}
    for value, numbers in sums.items():
        of_value = Counter(dict(enumerate(numbers)))
        complete(of_value)
        found[value] = by_name(of_value)
    return found


def _none() -> list[int]:
    """All, and by step."""
    return [0] * (1 + len(STEP_MEASURES))


def _add_up(sums: dict[int, list[int]], cells: bytes, first: int, product: int | None) -> None:
    of_product = sums.setdefault(product, _none()) if product is not None else []
    for value, measure, previous, number in unpack(cells):
        if previous >= first:
            if product is None:
                of_value = sums.get(value)
                if of_value is None:
                    of_value = sums[value] = _none()
                of_value[measure] += number
            else:
                of_product[measure] += number
