"""What the page draws, with each point in words."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from app.merchant import charts, words
from app.merchant.language import NOTHING, Language
from app.merchant.reports import SOON

_MOST_DAYS = 90  # of an experiment: each of them makes the page larger
_PER_MILLE = 1_000  # of shares, which charts have as whole numbers


@dataclass(frozen=True)
class Curve:
    name: str
    lines: tuple[str, ...]  # what the first line is, and the second; of bars nothing
    svg: str
    top: str  # where the axis ends
    ticks: list[str]
    points: list[str]  # each in words, from left to right
    start: int  # the point that is shown in words at first
    note: str = ""


def of_report(language: Language, report: dict[str, Any]) -> list[Curve]:
    """Of days; of the hours, where there is one day alone."""
    _ = language.gettext
    lines = _("this period"), _("the period before")
    days = report["days"]
    labels = [day["day"] for day in days]
    curves = [
        _curve(
            language,
            _("Added to cart after a result"),
            lines,
            [_per_mille(day["rate"]) for day in days],
            [_per_mille(day["before"]["rate"]) for day in days],
            labels,
            is_share=True,
        ),
        _curve(
            language,
            _("Visitors per day"),
            lines,
            [day["visitors"] for day in days],
            [day["before"]["visitors"] for day in days],
            labels,
        ),
        _curve(
            language,
            _("Events per day"),
            lines,
            [day["events"] for day in days],
            [day["before"]["events"] for day in days],
            labels,
        ),
    ]
    if hours := report["hours"]:
        curves = [
            _curve(
                language,
                _("Events per hour"),
                (_("this day"), _("the day before")),
                [hour["events"] for hour in hours],
                [hour["before"] for hour in hours],
                [hour["hour"] for hour in hours],
                label=language.hour,
            )
        ]
    return curves


def rates_of(trial: dict[str, Any]) -> list[dict[str, Any]]:
    """The days of an experiment by the first product page, the latest of them: of each arm the rate
    and the visitors whose window is over."""
    none = None, 0
    days: dict[str, dict[str, Any]] = {}
    for day in trial["days"]:
        over = day["visitors"] - day["waiting"]
        of_day = days.setdefault(day["day"], {"day": day["day"], "widget": none, "holdout": none})
        of_day[day["arm"]] = day["added"] / over if over else None, over
    return [days[day] for day in sorted(days)][-_MOST_DAYS:]


def of_experiment(language: Language, trial: dict[str, Any]) -> Curve | None:
    """Both arms' rates, as `rates_of` has them."""
    _ = language.gettext
    days = rates_of(trial)
    if not days:
        return None
    is_whole = len({day["day"] for day in trial["days"]}) == len(days)
    return _curve(
        language,
        _("Rate per day"),
        (_("with the widget"), _("without the widget")),
        [_per_mille(day["widget"][0]) for day in days],
        [_per_mille(day["holdout"][0]) for day in days],
        [day["day"] for day in days],
        is_share=True,
        note=""
        if is_whole
        else _("The latest %(days)s. The CSV has all.", days=language.days(_MOST_DAYS)),
    )


def of_times(language: Language, report: dict[str, Any]) -> list[Curve]:
    """How many visitors took how long, of each span."""
    return [_bars(language, time) for time in report["times"]]


def _bars(language: Language, time: dict[str, Any]) -> Curve:
    numbers = [one["visitors"] for one in time["classes"]]
    places = [
        words.time_class(language, one["from_seconds"], one["to_seconds"])
        for one in time["classes"]
    ]
    title = language.gettext("%(name)s. The table has the numbers.", name=time["name"])
    return Curve(
        time["name"],
        (),
        charts.bars(numbers, title),
        language.number(charts.highest(numbers)),
        [places[0], places[len(places) // 2], places[-1]],
        [
            language.ngettext(
                "%(place)s: %(number)s visitor (%(share)s)",
                "%(place)s: %(number)s visitors (%(share)s)",
                one["visitors"],
                place=place,
                share=language.percent(one["share"]),
            )
            for place, one in zip(places, time["classes"], strict=True)
        ],
        numbers.index(max(numbers)),
        words.took(language, time, SOON),
    )


def _curve(
    language: Language,
    name: str,
    lines: tuple[str, str],
    numbers: Sequence[int | None],
    others: Sequence[int | None],
    places: Sequence[Any],
    *,
    is_share: bool = False,
    label: Callable[[Any], str] | None = None,
    note: str = "",
) -> Curve:
    def shown(number: int | None) -> str:
        if number is None:
            return NOTHING
        return language.percent(number / _PER_MILLE) if is_share else language.number(number)

    short = label or language.short_day
    middle = [short(places[len(places) // 2])] if len(places) > 6 else []
    return Curve(
        name,
        lines,
        charts.line(
            numbers,
            language.gettext("%(name)s. The table has the numbers.", name=name),
            others,
        ),
        shown(charts.highest(numbers, others)),
        [short(places[0]), *middle, short(places[-1])],
        [
            language.gettext(
                "%(place)s: %(number)s (%(line)s), %(other)s (%(other_line)s)",
                place=(label or language.day)(place),
                number=shown(number),
                line=lines[0],
                other=shown(other),
                other_line=lines[1],
            )
            for place, number, other in zip(places, numbers, others, strict=True)
        ],
        len(places) - 1,
        note,
    )


def _per_mille(share: float | None) -> int | None:
    return None if share is None else round(share * _PER_MILLE)
