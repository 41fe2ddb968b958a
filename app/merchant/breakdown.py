"""The funnel of each product, version, device or language, or what is compared in them: sorted, and
some at a time."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from psycopg import Connection

from app.counts import groups
from app.counts.measures import ALL, OTHERS, Measure
from app.counts.period import Period, Shop
from app.counts.reading import Moments
from app.merchant import experiment_groups
from app.merchant.groups import AT_ONCE, BREAKDOWNS, View, names_of
from app.merchant.language import ENGLISH, Language
from app.merchant.uplift import Uplift, uplift_of


def breakdown(
    connection: Connection,
    shop: Shop,
    period: Period,
    moments: Moments,
    view: View,
    language: Language = ENGLISH,
) -> dict[str, Any]:
    """The funnel of each group; or of each that has enough the comparison, or the experiment.

    The funnel: of visitors by the events that they did in it.

    The groups that are not on the page are folded into one, whose visitors are added up. A visitor
    who was in two of them counts twice. The rate is of visitors of days that are wholly over, who
    saw the product page: the share that added in the widget.
    """
    match view.show:
        case "comparison":
            return _comparison(connection, shop, period, moments, view)
        case "experiment":
            return _experiment(connection, shop, view, language)
    found = groups.groups(connection, shop, period, BREAKDOWNS[view.by], moments)
    together = found.pop(ALL, None)
    others = found.pop(OTHERS, None)
    by_name = view.sort == "name"
    names, called = names_of(connection, shop, view.by, list(found)) if by_name else ({}, {})
    ordered = _sorted(found, view.sort, names, called)
    shown, page, pages = _paged(ordered, view.page)
    if not by_name:
        names, called = names_of(connection, shop, view.by, shown)
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
        **_place(view, page, pages),
        "groups": [_shown(found[value], names.get(value, ""), called) for value in shown],
        "folded": folded,
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
    sizes = {value: one.tried.visitors for value, one in enough.items()}
    page, pages, shown = _largest(connection, shop, view, sizes)
    return {
        **_place(view, page, pages),
        "comparison": {
            "of": len(visited),
            "enough": len(enough),
            "groups": [
                {**named, **_compared(replace(enough[value], among=len(enough)))}
                for value, named in shown.items()
            ],
        },
    }


def _experiment(
    connection: Connection, shop: Shop, view: View, language: Language
) -> dict[str, Any]:
    """Those with most visitors come first, whatever the range."""
    found = experiment_groups.find(connection, shop, view.by, language)
    sizes = {value: one.everybody for value, one in found.enough.items()}
    page, pages, shown = _largest(connection, shop, view, sizes)
    return {
        **_place(view, page, pages),
        "experiment": {
            "of": found.of,
            "enough": len(sizes),
            "answer": found.answer,
            "groups": [
                {**named, **experiment_groups.compared(found.enough[value], len(sizes))}
                for value, named in shown.items()
            ],
        },
    }


def _place(view: View, page: int, pages: int) -> dict[str, Any]:
    """What each kind has; and what the others have, as nothing."""
    return {
        "by": view.by,
        "sort": view.sort,
        "page": page,
        "pages": pages,
        "groups": [],
        "folded": None,
        "comparison": None,
        "experiment": None,
    }


def _largest(
    connection: Connection, shop: Shop, view: View, sizes: Mapping[int, int]
) -> tuple[int, int, dict[int, dict[str, str | None]]]:
    """Which page it is, of how many, and what the groups on it are called."""
    ordered = sorted(sizes, key=lambda value: (-sizes[value], value))
    shown, page, pages = _paged(ordered, view.page)
    names, called = names_of(connection, shop, view.by, shown)
    values = {value: names.get(value, "") for value in shown}
    return page, pages, {
        value: {"value": name, "title": called.get(name)} for value, name in values.items()
    }  # fmt: skip


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
