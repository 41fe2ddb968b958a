"""The products, versions, devices and languages that a merchant tells visitors apart by: which are
asked for, what they are called, and how they are found."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from psycopg import Connection

from app.counts import only, titles
from app.counts.measures import Dimension
from app.counts.period import Shop

BREAKDOWNS = {
    "product": Dimension.PRODUCT,
    "version": Dimension.VERSION,
    "device": Dimension.DEVICE,
    "language": Dimension.LANGUAGE,
}
SORTS = ("visitors", "rate", "added", "name")
SHOWN = ("funnel", "comparison", "experiment")
AT_ONCE = 10  # groups


class View(NamedTuple):
    """Which groups, and in which order; pages count from 1. Without a page it is all of them."""

    by: str = "product"
    sort: str = "visitors"
    page: int | None = 1
    show: str = "funnel"


class Choice(NamedTuple):
    """The one group that all numbers are of."""

    by: str
    value: str  # as it is counted, "" for what was sent without

    def find(self, connection: Connection, shop_id: int) -> only.Only:
        return only.find(connection, shop_id, BREAKDOWNS[self.by], self.value)

    def __str__(self) -> str:
        return f"{self.by}:{self.value}"


def shown_choice(connection: Connection, shop: Shop, choice: Choice) -> dict[str, Any]:
    title = None
    if choice.by == "product":
        title = titles.of_products(connection, shop.id, [choice.value]).get(choice.value)
    return {"by": choice.by, "value": choice.value, "title": title}


def find_groups(connection: Connection, shop: Shop, text: str) -> list[dict[str, Any]]:
    """Some groups with the text in their title or value, whichever the case."""
    if not text:
        return []
    rows = connection.execute(
        "SELECT dimension, report_values.value, title FROM report_values"
        " LEFT JOIN report_titles AS titles ON dimension = %(product)s"
        " AND titles.shop_id = report_values.shop_id AND product = report_values.value"
        " WHERE report_values.shop_id = %(shop)s"
        " AND strpos(lower(concat_ws(E'\\n', report_values.value, title)), lower(%(text)s)) > 0"
        " ORDER BY dimension, title, report_values.value LIMIT %(most)s",
        {"shop": shop.id, "product": Dimension.PRODUCT, "text": text, "most": AT_ONCE},
    )
    names = {dimension: name for name, dimension in BREAKDOWNS.items()}
    return [
        {"by": names[Dimension(dimension)], "value": value, "title": title}
        for dimension, value, title in rows
    ]


def names_of(
    connection: Connection, shop: Shop, by: str, values: Iterable[int]
) -> tuple[Mapping[int, str], Mapping[str, str]]:
    """What was sent by number; and of products the titles."""
    names: dict[int, str] = dict(
        connection.execute(
            "SELECT id, value FROM report_values WHERE shop_id = %s AND id = ANY(%s)",
            [shop.id, list(values)],
        ).fetchall()
    )
    if by != "product":
        return names, {}
    return names, titles.of_products(connection, shop.id, names.values())
