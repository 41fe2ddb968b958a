"""Numbers for products, versions and the like, given when each is first seen."""

from collections.abc import Collection, Iterable

import orjson
from psycopg import Connection

from app.counts.measures import OTHERS, Dimension

# How many a shop can have; what comes later is one of the others.
MOST = {
    Dimension.PRODUCT: 20_000,
    Dimension.VERSION: 100,
    Dimension.DEVICE: 20,
    Dimension.LANGUAGE: 100,
}

Key = tuple[int, int, str]  # shop, dimension, text

_WANTED = "json_to_recordset(%s::json) AS wanted (shop_id integer, dimension smallint, value text)"
_FIND = (
    "SELECT shop_id, dimension, value, id"
    f" FROM {_WANTED} JOIN report_values USING (shop_id, dimension, value)"
)
# ON CONFLICT: a release that runs beside this one numbers them too.
_MAKE = (
    "INSERT INTO report_values (shop_id, dimension, value)"
    f" SELECT shop_id, dimension, value FROM {_WANTED}"
    " ON CONFLICT (shop_id, dimension, value) DO UPDATE SET value = excluded.value"
    " RETURNING shop_id, dimension, value, id"
)


def numbers(connection: Connection, keys: Collection[Key]) -> dict[Key, int]:
    """The number of each, made where there was none. The caller's transaction, with which what it
    has made may be taken back, holds the locks of the shops."""
    known = _ask(connection, _FIND, keys)
    unknown = sorted(key for key in keys if key not in known)
    if unknown:
        room = _room(connection, {key[:2] for key in unknown})
        made = []
        for key in unknown:
            if room[key[:2]] > 0:
                room[key[:2]] -= 1
                made.append(key)
            else:
                known[key] = OTHERS
        known |= _ask(connection, _MAKE, made)
    return known


def _room(connection: Connection, wanted: Iterable[tuple[int, int]]) -> dict[tuple[int, int], int]:
    """How many more a shop can have of a dimension."""
    room = {}
    for shop_id, dimension in wanted:
        [(number,)] = connection.execute(
            "SELECT count(*) FROM report_values WHERE shop_id = %s AND dimension = %s",
            [shop_id, dimension],
        )
        room[shop_id, dimension] = MOST[Dimension(dimension)] - number
    return room


def _ask(connection: Connection, statement: str, keys: Collection[Key]) -> dict[Key, int]:
    if not keys:
        return {}
    wanted = orjson.dumps(
        [dict(zip(("shop_id", "dimension", "value"), key, strict=True)) for key in keys]
    ).decode()
    rows = connection.execute(statement.encode(), [wanted]).fetchall()
    return {(shop_id, dimension, value): id_ for shop_id, dimension, value, id_ in rows}
