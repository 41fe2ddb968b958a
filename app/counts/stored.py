"""Stored events, put together into journeys by Postgres, to be counted again."""

from collections.abc import Collection, Iterator, Mapping, Sequence

import orjson
from psycopg import Connection

from app.batch.news import WITHOUT_WIDGET, product_of
from app.batch.visitor import IS_BATCH_NOBODYS, IS_WITHOUT_WIDGET
from app.counts import dimensions, journeys
from app.counts.arrays import uuids
from app.counts.journeys import pack_values
from app.counts.measures import KIND_OF, Dimension
from app.counts.only import text_of
from app.counts.values import Key, numbers

_ROWS = 5_000  # of values at once
_JOURNEYS_AT_ONCE = 500  # of up to 29 kB
_MOST_KNOWN = 50_000  # values

_Wanted = dict[str, int | str | None]
Texts = tuple[str, str, str, str]  # product, version, device, language
_DIMENSIONS = (Dimension.PRODUCT, Dimension.VERSION, Dimension.DEVICE, Dimension.LANGUAGE)

_OWN_PRODUCT = Dimension.WHOLE  # here: what an event's own properties name, as JSON
_HAS_NONE = "nullif(b.product_id, '') IS NULL"
# A batch's values as they are stored, by dimension.
_RAW = {
    Dimension.PRODUCT: "coalesce(b.product_id, '')",
    Dimension.VERSION: "coalesce(b.lib_version, '')",
    Dimension.DEVICE: "coalesce(b.device_class, '')",
    Dimension.LANGUAGE: "CASE jsonb_typeof(b.context->'$browser_language')"
    " WHEN 'string' THEN b.context->>'$browser_language' ELSE '' END",
}
_OF_VISITORS = (
    f"b.shop_id = %(shop)s AND {dimensions.VISITOR_KEY} IS NOT NULL"
    f" AND (%(visitors)s::uuid[] IS NULL OR {dimensions.VISITOR_KEY} = ANY(%(visitors)s::uuid[]))"
)
_RAWS = ", ".join(f"({dimension:d}, {raw})" for dimension, raw in _RAW.items())
_NUMBERED = " ".join(
    f"JOIN value_numbers {name} ON {name}.dimension = {dimension:d} AND {name}.raw = {raw}"
    for dimension, raw in _RAW.items()
    for name in [dimension.name.lower()]
)
# As journeys pack them, behind the product.
_REST = " || ".join(f"int4send({dimension.name.lower()}.number)" for dimension in _DIMENSIONS[1:])
_VALUES = f"""
    SELECT DISTINCT dimension, raw FROM batches b, LATERAL (VALUES
        {_RAWS}
    ) AS raws (dimension, raw) WHERE {_OF_VISITORS}
    UNION ALL
    SELECT DISTINCT {_OWN_PRODUCT:d}, (e.properties->'product_id')::text
    FROM events e JOIN batches b ON b.shop_id = e.shop_id AND b.id = e.batch_id
    WHERE e.shop_id = %(shop)s AND e.properties ? 'product_id' AND {_HAS_NONE} AND {_OF_VISITORS}
"""  # fmt: skip
_WIDGETS = "widget:"
_KIND = (
    f"CASE {dimensions.NAME} "
    + " ".join(f"WHEN '{name}' THEN '\\x{kind:02x}'" for name, kind in KIND_OF.items() if name)
    + f" ELSE CASE WHEN {dimensions.NAME} IS NULL THEN '\\x{KIND_OF[None]:02x}' "
    + " ".join(
        f"WHEN starts_with({dimensions.NAME}, '{start}') THEN '\\x{KIND_OF[start]:02x}'"
        for start in (WITHOUT_WIDGET + _WIDGETS, WITHOUT_WIDGET, _WIDGETS)
    )
    + f" ELSE '\\x{KIND_OF['']:02x}' END END::bytea"
)
_JOURNEYS = f"""
    INSERT INTO report_visitors (shop_id, visitor, events)
    SELECT %(shop)s, visitor, CASE WHEN max(number) <= %(most)s
        THEN string_agg(packed, '') FILTER (WHERE number <= %(most)s) ELSE '' END
    FROM (
        SELECT visitor, packed,
            row_number() OVER (PARTITION BY visitor ORDER BY at, packed) AS number
        FROM (
            SELECT visitor, at, int8send(at) || {_KIND}
                || int4send((e.occurred_at AT TIME ZONE %(zone)s)::date - date '1970-01-01')
                || int4send(coalesce(own.number, b.product)) || b.rest AS packed
            FROM named_events e
            JOIN (
                SELECT b.id, b.received_at, {dimensions.VISITOR_KEY} AS visitor,
                    {IS_BATCH_NOBODYS} AS is_nobodys, {IS_WITHOUT_WIDGET} AS is_without_widget,
                    {_HAS_NONE} AS has_none, product.number AS product,
                    {_REST} AS rest
                FROM batches b
                {_NUMBERED}
                WHERE {_OF_VISITORS}
            ) AS b ON b.id = e.batch_id
            LEFT JOIN value_numbers own ON b.has_none AND own.dimension = {_OWN_PRODUCT:d}
                AND own.raw = (e.properties->'product_id')::text
            CROSS JOIN LATERAL (
                SELECT (extract(epoch FROM e.occurred_at) * 1000000)::bigint AS at
            ) AS moment
            WHERE e.shop_id = %(shop)s
        ) AS events
    ) AS numbered
    GROUP BY visitor"""  # fmt: skip


class Numbering:
    """The numbers of a transaction's values, asked for once each."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: dict[Key, int] = {}

    def of(self, wanted: Mapping[int, Collection[Texts]]) -> dict[int, dict[Texts, bytes]]:
        """By shop, as journeys pack them."""
        if len(self._known) > _MOST_KNOWN:
            self._known.clear()
        keys = {
            (shop_id, int(dimension), text)
            for shop_id, of_shop in wanted.items()
            for texts in of_shop
            for dimension, text in zip(_DIMENSIONS, texts, strict=True)
        }
        self._known |= numbers(self._connection, keys - self._known.keys())
        return {
            shop_id: {
                texts: pack_values(
                    self._known[shop_id, dimension, text]
                    for dimension, text in zip(_DIMENSIONS, texts, strict=True)
                )
                for texts in of_shop
            }
            for shop_id, of_shop in wanted.items()
        }


def collect(
    connection: Connection, shop_id: int, time_zone: str, visitors: Sequence[str] | None
) -> Iterator[bytes]:
    """Write down the journeys of these visitors of a shop, or of all, of whom nothing is kept; then
    yield each, but those of robots. The caller's transaction holds the shop's lock.

    In the order of their first events: so what is added up at a time is of few days, and each row
    of the counts is written once or twice, not once for each part of the visitors."""
    wanted: _Wanted = {
        "shop": shop_id,
        "visitors": None if visitors is None else uuids(visitors),
        "zone": time_zone,
        "most": journeys.MOST_EVENTS,
    }
    _number_values(connection, shop_id, wanted)
    # The rows come sorted; a hashed aggregate need not take them in their order. And the planner
    # thinks of each join with the values that it leaves next to nothing.
    connection.execute("SET LOCAL enable_hashagg = off")
    connection.execute("SET LOCAL enable_nestloop = off")
    connection.execute(_JOURNEYS.encode(), wanted)
    connection.execute("DROP TABLE value_numbers")
    with connection.cursor(name="collected", binary=True) as cursor:
        cursor.execute(
            "SELECT events FROM report_visitors WHERE shop_id = %(shop)s AND events <> ''"
            " AND (%(visitors)s::uuid[] IS NULL OR visitor = ANY(%(visitors)s::uuid[]))"
            " ORDER BY substring(events FOR 8)",
            wanted,
        )
        while some := cursor.fetchmany(_JOURNEYS_AT_ONCE):
            for (packed,) in some:
                yield packed


def _number_values(connection: Connection, shop_id: int, wanted: _Wanted) -> None:
    """The number of each stored value, for Postgres to join with."""
    connection.execute(
        "CREATE TEMP TABLE value_numbers (dimension smallint, raw text, number integer)"
        " ON COMMIT DROP"
    )
    with connection.cursor(name="stored") as values, connection.cursor() as cursor:
        values.execute(_VALUES.encode(), wanted)
        while some := values.fetchmany(_ROWS):
            keys = [(shop_id, dimension or int(Dimension.PRODUCT), _text(dimension, raw))
                    for dimension, raw in some]  # fmt: skip
            known = numbers(connection, set(keys))
            with cursor.copy("COPY value_numbers FROM STDIN") as copy:
                for (dimension, raw), key in zip(some, keys, strict=True):
                    copy.write_row((dimension, raw, known[key]))
    connection.execute("ANALYZE value_numbers")


def _text(dimension: int, raw: str) -> str:
    if dimension == _OWN_PRODUCT:
        return product_of(orjson.loads(raw))
    return text_of(Dimension(dimension), raw)
