"""What products are called: the newest title that an event of each has brought."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import orjson
from psycopg import Connection

from app.counts.measures import Dimension

# A shop has titles only for products that it has numbers for (app.counts.values). One that is known
# already is written again once a day, so that an older one that comes late does not replace it.
_REMEMBER = f"""
    INSERT INTO report_titles AS known (shop_id, product, title, seen_at)
    SELECT told.shop_id, told.product, told.title, told.seen_at
    FROM json_to_recordset(%s::json)
        AS told (shop_id integer, product text, title text, seen_at timestamptz)
    JOIN report_values AS named ON named.shop_id = told.shop_id
        AND named.dimension = {Dimension.PRODUCT:d} AND named.value = told.product
    LEFT JOIN report_titles AS before ON before.shop_id = named.shop_id
        AND before.product = named.value
    WHERE before.seen_at IS NULL OR told.seen_at > before.seen_at
        + CASE WHEN told.title = before.title THEN interval '1 day' ELSE '0' END
    ORDER BY told.shop_id, told.product
    ON CONFLICT (shop_id, product) DO UPDATE SET title = excluded.title, seen_at = excluded.seen_at
    WHERE known.seen_at < excluded.seen_at"""


def remember(connection: Connection, announced: Iterable[tuple[int, bytes]]) -> None:
    """By shop, as they were announced (app.batch.news). After the numbers of what they came with,
    in the transaction that has the shops' locks."""
    newest: dict[tuple[int, str], tuple[int, str]] = {}
    for shop_id, packed in announced:
        for product, at, title in orjson.loads(packed):
            newest[shop_id, product] = max(newest.get((shop_id, product), (0, "")), (at, title))
    if not newest:
        return
    told = [
        {
            "shop_id": shop_id,
            "product": product,
            "title": title,
            "seen_at": datetime.fromtimestamp(at / 1_000_000, UTC),
        }
        for (shop_id, product), (at, title) in newest.items()
    ]
    connection.execute(_REMEMBER.encode(), [orjson.dumps(told).decode()])


def of_products(connection: Connection, shop_id: int, products: Iterable[str]) -> Mapping[str, str]:
    """The titles of those of a shop's products that have one."""
    return dict(
        connection.execute(
            "SELECT product, title FROM report_titles WHERE shop_id = %s AND product = ANY(%s)",
            [shop_id, list(products)],
        ).fetchall()
    )


def forget(connection: Connection, shop_id: int, before: datetime) -> None:
    """Those that nobody has brought since."""
    connection.execute(
        "DELETE FROM report_titles WHERE shop_id = %s AND seen_at < %s", [shop_id, before]
    )
