"""What may be said of an experiment, in one sentence, and the checks behind it."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from app.merchant.language import ENGLISH, Language
from app.merchant.statistics import Arm, difference_interval, sample_ratio

FEWEST_DAYS = 14  # two whole weeks: shoppers of Sundays are not those of Mondays
FEWEST_ADDS = 20  # in each arm; with fewer the arms are too coarse to compare
_ALARM = 0.001  # p of the arms' sizes below which nothing is said
_MOST_SEEN = 0.005  # of the held-back visitors; a few keep a page open over the start

OUT_OF_PROPORTION, SEEN, TOO_SHORT, TOO_FEW = "out_of_proportion", "seen", "too_short", "too_few"
RAISES, LOWERS, NOT_SHOWN = "raises", "lowers", "not_shown"


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """The arms are of visitors whose window is over; `share` of 1."""

    share: float
    widget: Arm
    holdout: Arm
    widget_waiting: int
    holdout_waiting: int
    saw_widget: int  # of those held back
    days: timedelta  # that it has run
    is_running: bool

    @property
    def everybody(self) -> int:
        return self.all_held_back + self.widget.visitors + self.widget_waiting

    @property
    def all_held_back(self) -> int:
        return self.holdout.visitors + self.holdout_waiting

    @property
    def pooled_rate(self) -> float | None:
        visitors = self.widget.visitors + self.holdout.visitors
        return (self.widget.added + self.holdout.added) / visitors if visitors else None

    @property
    def p_of_sizes(self) -> float:
        return sample_ratio(self.everybody - self.all_held_back, self.all_held_back, self.share)

    @property
    def is_in_proportion(self) -> bool:
        return self.p_of_sizes >= _ALARM

    @property
    def is_unseen(self) -> bool:
        return self.saw_widget <= _MOST_SEEN * self.all_held_back

    @property
    def is_long_enough(self) -> bool:
        return self.days >= timedelta(days=FEWEST_DAYS)

    @property
    def has_enough_adds(self) -> bool:
        return min(self.widget.added, self.holdout.added) >= FEWEST_ADDS

    @property
    def holds(self) -> bool:
        """Every check, without the words: there may be many thousand groups."""
        return (
            self.has_enough_adds
            and self.is_long_enough
            and self.is_unseen
            and self.is_in_proportion
        )


@dataclass(frozen=True)
class Forecast:
    """A difference, a share of 1, and by when it would show; None where none would in a year."""

    difference: float | None
    by: date | None


def verdict(
    numbers: Numbers, forecast: Forecast | None, today: date, language: Language = ENGLISH
) -> tuple[str, str]:
    """Its kind, and the sentence. `forecast` of an experiment that runs."""
    _ = language.gettext
    for check in checks(numbers, language):
        if not check["ok"]:
            words = check["words"]
            if check["name"] in (TOO_SHORT, TOO_FEW) and forecast and forecast.by:
                words = f"{words} {_would_show(forecast, today, language)}"
            return check["name"], words
    low, high = difference_interval(numbers.widget, numbers.holdout) or (-1.0, 1.0)
    without, with_it = numbers.holdout.rate or 0.0, numbers.widget.rate or 0.0
    digits = 1 if without >= 0.01 else 2
    interval = {
        "low": language.signed(100 * low, digits),
        "high": language.signed(100 * high, digits),
    }
    if low <= 0 <= high and forecast is None:
        return NOT_SHOWN, _(
            "No difference was shown: whatever try-on does to the share who add to the cart, it is"
            " between %(low)s and %(high)s points.",
            **interval,
        )
    if low <= 0 <= high:
        return NOT_SHOWN, _(
            "Not shown yet. %(forecast)s", forecast=_would_show(forecast, today, language)
        )
    change = {
        "without": language.percent(without, digits),
        "with_it": language.percent(with_it, digits),
        "difference": language.signed(100 * (with_it - without), digits),
        **interval,
    }
    if low > 0:
        return RAISES, _(
            "Try-on raises the share who add to the cart from %(without)s to %(with_it)s"
            " (%(difference)s points, between %(low)s and %(high)s whenever you look).",
            **change,
        )
    return LOWERS, _(
        "Try-on lowers the share who add to the cart from %(without)s to %(with_it)s"
        " (%(difference)s points, between %(low)s and %(high)s whenever you look).",
        **change,
    )


def checks(numbers: Numbers, language: Language = ENGLISH) -> list[dict[str, Any]]:
    """All of them, the gravest first."""
    return [
        _in_proportion(numbers, language),
        _unseen(numbers, language),
        _long_enough(numbers, language),
        _enough_adds(numbers, language),
    ]


def _in_proportion(numbers: Numbers, language: Language) -> dict[str, Any]:
    _ = language.gettext
    held_back, everybody = numbers.all_held_back, numbers.everybody
    values = {
        "held_back": language.number(held_back),
        "everybody": language.number(everybody),
        "share": language.percent(held_back / everybody if everybody else 0.0),
        "wanted": language.percent(numbers.share),
        "p": f"{numbers.p_of_sizes:.2g}",
    }
    if numbers.is_in_proportion:
        return _check(
            OUT_OF_PROPORTION,
            _(
                "Held back: %(held_back)s of %(everybody)s visitors (%(share)s; %(wanted)s were to"
                " be, p = %(p)s).",
                **values,
            ),
        )
    return _check(
        OUT_OF_PROPORTION,
        _(
            "The arms are out of proportion: %(held_back)s of %(everybody)s visitors were held back"
            " (%(share)s; %(wanted)s were to be, p = %(p)s). Something keeps visitors of one arm"
            " from being counted, so no answer can be trusted.",
            **values,
        ),
        ok=False,
    )


def _unseen(numbers: Numbers, language: Language) -> dict[str, Any]:
    _ = language.gettext
    values = {
        "seen": language.number(numbers.saw_widget),
        "held_back": language.number(numbers.all_held_back),
    }
    if numbers.is_unseen:
        return _check(
            SEEN,
            _("Held-back visitors with events of the widget: %(seen)s of %(held_back)s.", **values),
        )
    return _check(
        SEEN,
        _(
            "The widget was not held back: %(seen)s of %(held_back)s held-back visitors have events"
            " of the widget. Show it only where genlook.arm() is not “holdout”, and start anew.",
            **values,
        ),
        ok=False,
    )


def _long_enough(numbers: Numbers, language: Language) -> dict[str, Any]:
    _ = language.gettext
    days = numbers.days // timedelta(days=1)
    values = {"days": language.number(days), "needed": language.number(FEWEST_DAYS)}
    if numbers.is_long_enough:
        return _check(TOO_SHORT, _("Days that are over: %(days)s. Needed: %(needed)s.", **values))
    if numbers.is_running:
        words = _("Too early to say: %(days)s of %(needed)s days are over.", **values)
    else:
        words = _("It was too short to say: %(days)s of %(needed)s days are over.", **values)
    return _check(TOO_SHORT, words, ok=False)


def _enough_adds(numbers: Numbers, language: Language) -> dict[str, Any]:
    _ = language.gettext
    widget, holdout = numbers.widget.added, numbers.holdout.added
    values = {
        "widget": language.number(widget),
        "holdout": language.number(holdout),
        "needed": language.number(FEWEST_ADDS),
    }
    if numbers.has_enough_adds:
        return _check(
            TOO_FEW,
            _(
                "Visitors who added to the cart: %(widget)s with the widget, %(holdout)s without."
                " Needed of each: %(needed)s.",
                **values,
            ),
        )
    return _check(
        TOO_FEW,
        _(
            "Too few to say: %(widget)s visitors with the widget and %(holdout)s without have added"
            " to the cart, and %(needed)s of each are needed.",
            **values,
        ),
        ok=False,
    )


def _check(name: str, words: str, *, ok: bool = True) -> dict[str, Any]:
    return {"name": name, "ok": ok, "words": words}


def _would_show(forecast: Forecast | None, today: date, language: Language) -> str:
    _ = language.gettext
    if forecast is None or forecast.by is None or forecast.difference is None:
        return _("At today's traffic no difference would show within a year.")
    digits = 1 if forecast.difference >= 0.001 else 2
    is_this_year = forecast.by.year == today.year
    return _(
        "At today's traffic a difference of %(difference)s points would show by %(day)s.",
        difference=language.number(100 * forecast.difference, digits),
        day=language.short_day(forecast.by) if is_this_year else language.day(forecast.by),
    )
