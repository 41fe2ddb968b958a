"""What may be said of an experiment, in one sentence, and the checks behind it."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from app.merchant.statistics import Arm, difference_interval, sample_ratio
from app.merchant.words import percent

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


@dataclass(frozen=True)
class Forecast:
    """A difference, a share of 1, and by when it would show; None where none would in a year."""

    difference: float | None
    by: date | None


def verdict(numbers: Numbers, forecast: Forecast | None, today: date) -> tuple[str, str]:
    """Its kind, and the sentence. `forecast` of an experiment that runs."""
    for check in checks(numbers):
        if not check["ok"]:
            later = ""
            if check["name"] in (TOO_SHORT, TOO_FEW) and forecast and forecast.by:
                words = _would_show(forecast, today)
                later = f" {words[0].upper()}{words[1:]}."
            return check["name"], check["words"] + later
    low, high = difference_interval(numbers.widget, numbers.holdout) or (-1.0, 1.0)
    without, with_it = numbers.holdout.rate or 0.0, numbers.widget.rate or 0.0
    digits = 1 if without >= 0.01 else 2
    if low <= 0 <= high:
        if forecast is None:
            return NOT_SHOWN, (
                "No difference was shown: whatever try-on does to the share who add to the cart,"
                f" it is between {_signed(low, digits)} and {_signed(high, digits)} points."
            )
        return NOT_SHOWN, f"Not shown yet; {_would_show(forecast, today)}."
    kind, word = (RAISES, "raises") if low > 0 else (LOWERS, "lowers")
    return kind, (
        f"Try-on {word} the share who add to the cart from {100 * without:.{digits}f} % to"
        f" {100 * with_it:.{digits}f} % ({_signed(with_it - without, digits)} points, between"
        f" {_signed(low, digits)} and {_signed(high, digits)} whenever you look)."
    )


def checks(numbers: Numbers) -> list[dict[str, Any]]:
    """All of them, the gravest first."""
    held_back, everybody = numbers.all_held_back, numbers.everybody
    widget, holdout = numbers.widget, numbers.holdout
    days = numbers.days // timedelta(days=1)
    length = f"{days} days are over, and {FEWEST_DAYS} are needed"
    if days < FEWEST_DAYS:
        length = f"{days} of {FEWEST_DAYS} days are over"
    enough_adds = min(widget.added, holdout.added) >= FEWEST_ADDS
    in_proportion = numbers.p_of_sizes >= _ALARM
    is_unseen = numbers.saw_widget <= _MOST_SEEN * held_back
    return [
        _check(
            OUT_OF_PROPORTION,
            in_proportion,
            f"{held_back:,} of {everybody:,} visitors were held back"
            f" ({percent(held_back / everybody if everybody else 0.0)}; {percent(numbers.share)}"
            f" were to be, p = {numbers.p_of_sizes:.2g})",
            "The arms are out of proportion: {}. Something keeps visitors of one arm from being"
            " counted, so no answer can be trusted.",
        ),
        _check(
            SEEN,
            is_unseen,
            f"{numbers.saw_widget:,} of {held_back:,} held-back visitors have events of the widget",
            "The widget was not held back: {}. Show it only where genlook.arm() is not"
            ' "holdout", and start anew.',
        ),
        _check(
            TOO_SHORT,
            days >= FEWEST_DAYS,
            length,
            "Too early to say: {}." if numbers.is_running else "It was too short to say: {}.",
        ),
        _check(
            TOO_FEW,
            enough_adds,
            f"{widget.added:,} visitors with the widget and {holdout.added:,} without have added"
            f" to the cart, and {FEWEST_ADDS} of each are needed",
            "Too few to say: {}.",
        ),
    ]  # fmt: skip


def _check(name: str, ok: bool, fact: str, complaint: str) -> dict[str, Any]:
    words = f"{fact[0].upper()}{fact[1:]}." if ok else complaint.format(fact)
    return {"name": name, "ok": ok, "words": words}


def _would_show(forecast: Forecast, today: date) -> str:
    if forecast.by is None or forecast.difference is None:
        return "at today's traffic no difference would show within a year"
    digits = 1 if forecast.difference >= 0.001 else 2
    year = "" if forecast.by.year == today.year else f" {forecast.by.year}"
    return (
        f"at today's traffic a difference of {100 * forecast.difference:.{digits}f} points would"
        f" show by {forecast.by.day} {forecast.by:%B}{year}"
    )


def _signed(share: float, digits: int) -> str:
    return f"{100 * share:+.{digits}f}".replace("-", "\N{MINUS SIGN}")
