"""The funnel of each product, version, device or language: sorted, and some at a time."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from psycopg import Connection

from app.counts import groups, only, titles
from app.counts.measures import ALL, OTHERS, Dimension, Measure
from app.counts.period import Period, Shop
from app.counts.reading import Moments
from app.merchant.uplift import Uplift, uplift_of

BREAKDOWNS = {
    "product": Dimension.PRODUCT,
    "version": Dimension.VERSION,
    "device": Dimension.DEVICE,
    "language": Dimension.LANGUAGE,
}
SORTS = ("visitors", "rate", "added", "name")
SHOWN = ("funnel", "comparison")
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


def breakdown(
    connection: Connection, shop: Shop, period: Period, moments: Moments, view: View
) -> dict[str, Any]:
    """The funnel of each group, or of each that has enough the comparison.

    The funnel: of visitors by the events that they did in it.

    The groups that are not on the page are folded into one, whose visitors are added up. A visitor
    who was in two of them counts twice. The rate is of visitors of days that are wholly over, who
    saw the product page: the share that added in the widget.
    """
    if view.show == "comparison":
        return _comparison(connection, shop, period, moments, view)
    found = groups.groups(connection, shop, period, BREAKDOWNS[view.by], moments)
    together = found.pop(ALL, None)
    others = found.pop(OTHERS, None)
    by_name = view.sort == "name"
    names, called = _names(connection, shop, view, list(found)) if by_name else ({}, {})
    ordered = _sorted(found, view.sort, names, called)
    shown, page, pages = _paged(ordered, view.page)
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
        "comparison": None,
    }


def _comparison(
    connection: Connection, shop: Shop, period: Period, moments: Moments, view: View
) -> dict[str, Any]:
    """Those with most visitors who tried come first. The more there are, the wider the intervals:
    all of them hold together."""
    found = groups.comparable(connection, shop, period, BREAKDOWNS[view.by], moments)
    for value in (ALL, OTHERS):
        found.pop(value, None)
    visited = {value: one for value, one in found.items() if one[Measure.EXPOSED]}
    all_ = {value: uplift_of(numbers) for value, numbers in visited.items()}
    enough = {value: one for value, one in all_.items() if one.has_enough}
    ordered = sorted(enough, key=lambda value: (-enough[value].tried.visitors, value))
    shown, page, pages = _paged(ordered, view.page)
    names, called = _names(connection, shop, view, shown)
    return {
        "by": view.by,
        "sort": view.sort,
        "page": page,
        "pages": pages,
        "groups": [],
        "folded": None,
        "comparison": {
            "of": len(visited),
            "enough": len(enough),
            "groups": [
                {
                    "value": names.get(value, ""),
                    "title": called.get(names.get(value, "")),
                    **_compared(replace(enough[value], among=len(enough))),
                }
                for value in shown
            ],
        },
    }


def _paged(ordered: list[int], page: int | None) -> tuple[list[int], int, int]:
    """Those of a page, or of the last one there is, or all; which page it is, and of how many."""
    pages = max(1, -(-len(ordered) // AT_ONCE))
    if page is None:
        return ordered, 1, pages
    of_page = min(page, pages)
    return ordered[(of_page - 1) * AT_ONCE : of_page * AT_ONCE], of_page, pages


def _compared(uplift: Uplift) -> dict[str, Any]:
    low, high = uplift.interval or (None, None)
    groups = {"tried": uplift.tried, "others": uplift.others}
    return {
        **{
            name: {"visitors": group.visitors, "added": group.added, "rate": group.rate}
            for name, group in groups.items()
        },
        "difference": uplift.difference,
        "low": low,
        "high": high,
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
    found: Mapping[int, groups.Group],
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


def _shown(group: groups.Group, value: str, called: Mapping[str, str]) -> dict[str, Any]:
    return {
        "value": value,
        "title": called.get(value),
        "visitors": group.visitors,
        "steps": group.steps,
        "over": group.over,
        "rate": group.rate,
    }
