"""The sums of an experiment by day and arm: of all its visitors, and of those whose first product
page was of one product, on one device, in one language. What came before the widget could change
anything tells visitors apart; a version does not, for who is held back has no widget."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from psycopg import Connection

from app.counts.measures import Dimension
from app.counts.only import Only

GROUPS = (Dimension.PRODUCT, Dimension.DEVICE, Dimension.LANGUAGE)

# Of `sums`, and of `open`, those who still wait.
_LESS_WAITING = (
    "sums.visitors, coalesce(waiting, 0)::int, sums.added - coalesce(waiting_added, 0)::int,"
    " sums.saw_widget"
)


class Part(NamedTuple):
    """What a visitor counts for: `first` is when they first saw a product page, in microseconds of
    Unix time, `day` that day in the shop's zone, and the rest what that page was sent with, ids of
    report_values; none where the release before has counted it."""

    is_held_back: bool
    first: int
    day: int
    has_added: bool
    saw_widget: bool
    product: int | None
    device: int | None
    language: int | None


class Sums(NamedTuple):
    """Of one arm: its visitors, those of them who are still within their window, and of the others
    how many added; `saw_widget` is of all."""

    is_held_back: bool
    visitors: int
    waiting: int
    added: int
    saw_widget: int


class Day(NamedTuple):
    """The same of those who first saw a product page on a day, from 1970-01-01 in the shop's
    zone."""

    day: int
    is_held_back: bool
    visitors: int
    waiting: int
    added: int
    saw_widget: int


class _Statements(NamedTuple):
    change: str
    begin: str
    drop: str


def _statements(table: str, key: Mapping[str, str]) -> _Statements:
    """For a table with such a key, its columns with their types, within an experiment."""
    types = {**key, **dict.fromkeys(("visitors", "added", "saw_widget"), "integer")}
    arrays = ", ".join(f"%s::{type_}[]" for type_ in types.values())
    more = f"unnest({arrays}) AS more ({', '.join(types)})"
    return _Statements(
        f"UPDATE {table} AS sums SET visitors = sums.visitors + more.visitors,"
        " added = sums.added + more.added, saw_widget = sums.saw_widget + more.saw_widget"
        f" FROM {more} WHERE sums.shop_id = %s AND sums.experiment_id = %s"
        f" AND {' AND '.join(f'sums.{name} = more.{name}' for name in key)}"
        f" RETURNING {', '.join(f'sums.{name}' for name in key)}",
        f"INSERT INTO {table} (shop_id, experiment_id, {', '.join(types)})"
        f" SELECT %s, %s, more.* FROM {more}",
        f"DELETE FROM {table} WHERE shop_id = %s AND experiment_id = %s AND visitors = 0",
    )


_OF_ARM = {"day": "integer", "is_held_back": "boolean"}
_DAYS = _statements("experiment_days", _OF_ARM)
_OF_GROUPS = _statements(
    "experiment_groups", {"dimension": "smallint", "value": "integer", **_OF_ARM}
)


def add_up(
    connection: Connection,
    shop_id: int,
    experiment_id: int,
    added: Iterable[Part],
    taken: Iterable[Part],
) -> None:
    """Add visitors' parts to the sums, and take others away; a sum of nobody goes. The caller's
    transaction has the shop's lock."""
    sums: defaultdict[tuple[int, ...], list[int]] = defaultdict(lambda: [0, 0, 0])
    of_groups: defaultdict[tuple[int, ...], list[int]] = defaultdict(lambda: [0, 0, 0])
    for parts, by in ((added, 1), (taken, -1)):
        for part in parts:
            counted = [sums[part.day, part.is_held_back]]
            for dimension in GROUPS:
                value = getattr(part, dimension.name.lower())
                if value is not None:
                    counted.append(of_groups[int(dimension), value, part.day, part.is_held_back])
            for numbers in counted:
                numbers[0] += by
                numbers[1] += by * part.has_added
                numbers[2] += by * part.saw_widget
    for statements, some in ((_DAYS, sums), (_OF_GROUPS, of_groups)):
        _write(connection, statements, [shop_id, experiment_id], some)


def _write(
    connection: Connection,
    statements: _Statements,
    of: list[int],
    sums: Mapping[tuple[int, ...], list[int]],
) -> None:
    rows = {key: numbers for key, numbers in sorted(sums.items()) if any(numbers)}
    if not rows:
        return
    known = connection.execute(statements.change.encode(), [*_columns(rows), *of]).fetchall()
    if new := {key: numbers for key, numbers in rows.items() if key not in set(known)}:
        connection.execute(statements.begin.encode(), [*of, *_columns(new)])
    connection.execute(statements.drop.encode(), of)


def _columns(rows: Mapping[tuple[int, ...], list[int]]) -> list[list[int]]:
    columns = zip(*((*key, *numbers) for key, numbers in rows.items()), strict=True)
    return list(map(list, columns))


def _waiting(key: str) -> str:
    return (
        f"SELECT {key}, is_held_back, count(*) AS waiting,"
        " count(*) FILTER (WHERE has_added) AS waiting_added FROM experiment_visitors"
        " WHERE shop_id = %(shop)s AND experiment_id = %(id)s AND first_at >"
        " coalesce(%(now)s::timestamptz, now()) - make_interval(hours => %(hours)s)"
    )


def days(
    connection: Connection,
    shop_id: int,
    experiment_id: int,
    window_hours: int,
    now: object = None,
    only: Only | None = None,
) -> Iterator[Day]:
    """In order. `now`: a datetime, else the database's. `only` is of GROUPS."""
    table, of_group, waits = "experiment_days", "", ""
    if only:
        table = "experiment_groups"
        of_group = " AND dimension = %(dimension)s AND value = %(value)s"
        waits = f" AND {only.dimension.name.lower()} = %(value)s"
    rows = connection.execute(
        f"SELECT day, is_held_back, {_LESS_WAITING}"
        f" FROM {table} AS sums LEFT JOIN ({_waiting('day')} {waits} GROUP BY day, is_held_back)"
        " AS open USING (day, is_held_back)"
        f" WHERE shop_id = %(shop)s AND experiment_id = %(id)s {of_group}"
        " ORDER BY day, is_held_back".encode(),
        {
            "shop": shop_id,
            "id": experiment_id,
            "hours": window_hours,
            "now": now,
            "dimension": only and only.dimension,
            "value": only and only.number,
        },
    )
    return (Day(*row) for row in rows.fetchall())


def groups(
    connection: Connection,
    shop_id: int,
    experiment_id: int,
    window_hours: int,
    dimension: Dimension,
    now: object = None,
) -> dict[int, list[Sums]]:
    """The arms of each group with anybody in it, by value. `dimension` is of GROUPS."""
    rows = connection.execute(
        f"SELECT value, is_held_back, {_LESS_WAITING}"
        " FROM (SELECT value, is_held_back, sum(visitors)::int AS visitors,"
        "  sum(added)::int AS added, sum(saw_widget)::int AS saw_widget FROM experiment_groups"
        "  WHERE shop_id = %(shop)s AND experiment_id = %(id)s AND dimension = %(dimension)s"
        "  GROUP BY value, is_held_back) AS sums"
        f" LEFT JOIN ({_waiting(f'{dimension.name.lower()} AS value')}"
        "  GROUP BY value, is_held_back) AS open USING (value, is_held_back)"
        " ORDER BY value, is_held_back".encode(),
        {
            "shop": shop_id,
            "id": experiment_id,
            "hours": window_hours,
            "now": now,
            "dimension": dimension,
        },
    )
    found: defaultdict[int, list[Sums]] = defaultdict(list)
    for value, *sums in rows.fetchall():
        found[value].append(Sums(*sums))
    return found
