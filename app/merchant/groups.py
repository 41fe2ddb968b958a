"""The funnel of each product, version, device or language: sorted, and some at a time."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from psycopg import Connection

from app.counts import reading, titles
from app.counts.measures import ALL, OTHERS, Dimension
from app.counts.period import Period, Shop

BREAKDOWNS = {
    "product": Dimension.PRODUCT,
    "version": Dimension.VERSION,
    "device": Dimension.DEVICE,
    "language": Dimension.LANGUAGE,
}
SORTS = ("visitors", "rate", "added", "name")
AT_ONCE = 10  # groups


class View(NamedTuple):
    """Which groups, and in which order; pages count from 1. Without a page it is all of them."""

    by: str = "product"
    sort: str = "visitors"
    page: int | None = 1


def breakdown(
    connection: Connection, shop: Shop, period: Period, moments: reading.Moments, view: View
) -> dict[str, Any]:
    """The funnel of each group: of visitors by the events that they did in it.

    The groups that are not on the page are folded into one, whose visitors are added up. A visitor
    who was in two of them counts twice. The rate is of visitors of days that are wholly over, who
    saw the product page: the share that added in the widget.
    """
    found = reading.groups(connection, shop, period, BREAKDOWNS[view.by], moments)
    together = found.pop(ALL, None)
    others = found.pop(OTHERS, None)
    by_name = view.sort == "name"
    names, called = _names(connection, shop, view, list(found)) if by_name else ({}, {})
    ordered = _sorted(found, view.sort, names, called)
    pages = max(1, -(-len(ordered) // AT_ONCE))
    page = min(view.page or 1, pages)
    shown = ordered if view.page is None else ordered[(page - 1) * AT_ONCE : page * AT_ONCE]
    if not by_name:
        names, called = _names(connection, shop, view, shown)
    folded = None
    hidden = len(ordered) - len(shown) + (others is not None)
    if together and hidden:
        largest = [found[value] for value in shown]
        folded = {
            "groups": hidden,
            "visitors": together.visitors - sum(group.visitors for group in largest),
            "steps": [
                visitors - sum(group.steps[number] for group in largest)
                for number, visitors in enumerate(together.steps)
            ],
        }
    return {
        "by": view.by,
        "sort": view.sort,
        "page": page,
        "pages": pages,
        "groups": [_shown(found[value], names.get(value, ""), called) for value in shown],
        "folded": folded,
    }


def _names(
    connection: Connection, shop: Shop, view: View, values: list[int]
) -> tuple[Mapping[int, str], Mapping[str, str]]:
    """What was sent by number; and of products the titles."""
    names: dict[int, str] = dict(
        connection.execute(
            "SELECT id, value FROM report_values WHERE shop_id = %s AND id = ANY(%s)",
            [shop.id, values],
        ).fetchall()
    )
    if view.by != "product":
        return names, {}
    return names, titles.of_products(connection, shop.id, names.values())


def _sorted(
    found: Mapping[int, reading.Group],
    sort: str,
    names: Mapping[int, str],
    called: Mapping[str, str],
) -> list[int]:
    """`found` has the largest first, and so it stays where they are equal."""

    def name(value: int) -> tuple[bool, str]:
        text = names.get(value, "")
        return not text, called.get(text, text).casefold()

    def rate(value: int) -> float:
        share = found[value].rate
        return -1.0 if share is None else share

    match sort:
        case "name":
            return sorted(found, key=name)
        case "rate":
            return sorted(found, key=rate, reverse=True)
        case "added":
            return sorted(found, key=lambda value: found[value].steps[-1], reverse=True)
    return list(found)


def _shown(group: reading.Group, value: str, called: Mapping[str, str]) -> dict[str, Any]:
    return {
        "value": value,
        "title": called.get(value),
        "visitors": group.visitors,
        "steps": group.steps,
        "over": group.over,
        "rate": group.rate,
    }
