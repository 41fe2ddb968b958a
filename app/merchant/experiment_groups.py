"""The latest experiment in each product, device or language, where there is enough."""

from typing import Any, NamedTuple

from psycopg import Connection

from app.counts import experiment_sums as counts
from app.counts.measures import OTHERS
from app.counts.period import Shop
from app.merchant.experiments import arm, in_both_arms, read
from app.merchant.groups import BREAKDOWNS
from app.merchant.language import Language
from app.merchant.statistics import difference_interval
from app.merchant.verdict import Numbers, checks


class Found(NamedTuple):
    """`of`: so many groups have anybody. `enough`: those whose checks hold, by value. `answer`: why
    there can be none."""

    of: int
    enough: dict[int, Numbers]
    answer: str | None


def find(connection: Connection, shop: Shop, by: str, language: Language) -> Found:
    """By what visitors' first product page in the experiment was sent with. None of them where the
    whole experiment's checks do not hold: what is wrong there is wrong in each."""
    _ = language.gettext
    experiment = next(iter(read(connection, shop.id)), None)
    if experiment is None:
        return Found(0, {}, _("There is no experiment yet."))
    if BREAKDOWNS[by] not in counts.GROUPS:
        words = _("Visitors from whom the widget is held back have no version of it to compare.")
        return Found(0, {}, words)
    key = connection, shop.id, experiment.id, shop.window_hours
    whole = in_both_arms(experiment, list(counts.days(*key, shop.now)), shop.now)
    groups = counts.groups(*key, BREAKDOWNS[by], shop.now)
    groups.pop(OTHERS, None)
    if not whole.holds:
        words = next(one["words"] for one in checks(whole, language) if not one["ok"])
        return Found(len(groups), {}, words)
    all_ = {value: in_both_arms(experiment, sums, shop.now) for value, sums in groups.items()}
    return Found(len(groups), {value: one for value, one in all_.items() if one.holds}, None)


def compared(numbers: Numbers, among: int) -> dict[str, Any]:
    """The interval has its part of the mistakes, of so many that are looked at together."""
    widget, holdout = numbers.widget, numbers.holdout
    low, high = difference_interval(widget, holdout, among) or (-1.0, 1.0)
    return {
        "widget": arm(widget, numbers.widget_waiting),
        "holdout": arm(holdout, numbers.holdout_waiting),
        "difference": (widget.rate or 0.0) - (holdout.rate or 0.0),
        "low": low,
        "high": high,
    }
