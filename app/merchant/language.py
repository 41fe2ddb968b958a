"""The language a merchant reads: its texts from a catalogue, and its numbers, dates and times as
CLDR has them. English is what the code says; each other language is one file of `locales`."""

import re
from collections.abc import Callable, Sequence
from datetime import date, datetime, time
from functools import cache, lru_cache
from gettext import GNUTranslations, NullTranslations
from io import BytesIO
from pathlib import Path

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_datetime, format_interval, format_skeleton, format_time
from babel.lists import format_list
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import (
    NumberPattern,
    format_decimal,
    format_percent,
    get_group_symbol,
    parse_pattern,
)
from babel.units import format_unit

NOTHING = "\N{EN DASH}"
LOCALES = Path(__file__).with_name("locales")
_DOMAIN = "LC_MESSAGES/merchant.po"
_SOURCE = "en"
LANGUAGES = (_SOURCE, *sorted(path.parts[-3] for path in LOCALES.glob(f"*/{_DOMAIN}")))
_TAG = re.compile(r"([A-Za-z]{2,3})(?:[-_]([A-Za-z]{2}|[0-9]{3}))?", re.ASCII)
_MINUS = "\N{MINUS SIGN}"
_WHOLE = "#,##0"


class Language:
    """Texts are plain; who puts them into HTML escapes them. Shares are of 1."""

    def __init__(self, locale: Locale) -> None:
        self.locale = locale
        self.tag = str(locale).replace("_", "-")  # as HTML names it
        self._group = get_group_symbol(locale)
        catalogue = _catalogue(locale.language)
        self._one: Callable[[str], str] = catalogue.gettext
        self._many: Callable[[str, str, int], str] = catalogue.ngettext

    def gettext(self, text: str, **values: object) -> str:
        """The text in this language, with each `%(name)s` filled in."""
        return self._one(text) % values if values else self._one(text)

    def ngettext(self, one: str, many: str, number: int, **values: object) -> str:
        """The form that fits `number`, which the text names as `%(number)s`."""
        return self.form(one, many, number) % {"number": self.number(number), **values}

    def form(self, one: str, many: str, number: int) -> str:
        """The text alone, with nothing filled in."""
        return self._many(one, many, number)

    def number(self, number: float, digits: int = 0) -> str:
        if isinstance(number, int) and not digits:  # most are; CLDR's own way takes 20 times longer
            return f"{number:,}".replace(",", self._group)
        return format_decimal(number, format=_parsed(_pattern(digits)), locale=self.locale)

    def signed(self, number: float, digits: int = 0) -> str:
        pattern = _pattern(digits)
        form = _parsed(f"+{pattern};-{pattern}")
        shown = format_decimal(number, format=form, locale=self.locale)
        return shown.replace("-", _MINUS)

    def percent(self, share: float | None, digits: int = 1) -> str:
        return NOTHING if share is None else self._percent(share, digits, sign="")

    def change(self, share: float) -> str:
        """In whole percent, with its sign."""
        return self._percent(share, 0, sign="+").replace("-", _MINUS)

    def duration(self, seconds: int | None) -> str:
        """In its two largest units, such as 45 sec, 2 min 5 sec, 3 hr 20 min."""
        if seconds is None:
            return NOTHING
        minutes, rest = divmod(seconds, 60)
        hours, rest_of_hour = divmod(minutes, 60)
        if not minutes:
            parts = [("second", seconds)]
        elif not hours:
            parts = [("minute", minutes), ("second", rest if minutes < 10 else 0)]
        else:
            parts = [("hour", hours), ("minute", rest_of_hour)]
        shown = [self._unit(unit, number, "short")
                 for place, (unit, number) in enumerate(parts) if number or not place]  # fmt: skip
        return format_list(shown, style="unit-narrow", locale=self.locale)

    def hours(self, hours: int) -> str:
        """A week as days."""
        unit, number = ("day", 7) if hours == 168 else ("hour", hours)
        return self._unit(unit, number, "long")

    def days(self, days: int) -> str:
        return self._unit("day", days, "long")

    def day(self, day: date | str) -> str:
        """A day as such or as ISO 8601 has it, and so below."""
        return _medium(_day(day), self.locale)

    def short_day(self, day: date | str) -> str:
        """Without its year, for an axis."""
        return format_skeleton("MMMd", _day(day), locale=self.locale)

    def span(self, first: date | str, last: date | str) -> str:
        """Days from one to another; one day alone where they are the same."""
        return format_interval(_day(first), _day(last), "yMMMd", locale=self.locale)

    def hour(self, hour: int) -> str:
        """Of the day, from 0 to 23."""
        return format_time(time(hour), "short", locale=self.locale)

    def time(self, moment: datetime | str) -> str:
        """The time of day, as the moment's own zone has it."""
        return format_time(_clock(moment), "short", locale=self.locale)

    def moment(self, moment: datetime | str) -> str:
        """The day and the time."""
        return format_datetime(_clock(moment), "short", locale=self.locale)

    def _percent(self, share: float, digits: int, sign: str) -> str:
        own = self.locale.percent_formats[None].pattern.replace(_WHOLE, _pattern(digits))
        pattern = f"{sign}{own};-{own}" if sign else own
        return format_percent(share, format=_parsed(pattern), locale=self.locale)

    def _unit(self, unit: str, number: int, length: str) -> str:
        return format_unit(number, f"duration-{unit}", length, locale=self.locale)  # type: ignore[arg-type]


def choose(asked: str, accepted: Sequence[str] = ()) -> Language:
    """The language of the tag `asked`, as Shopify's `locale` names it (`de`, `fr-CA`); without one,
    the first of `accepted` that there is. Else English."""
    for tag in [asked] if asked else accepted:
        if found := _TAG.fullmatch(tag):
            language, region = found[1].lower(), (found[2] or "").upper()
            if language in LANGUAGES:
                return _language(language, region)
    return ENGLISH


@lru_cache(100)
def _language(language: str, region: str) -> Language:
    """A region that CLDR does not know with this language has the language's own form."""
    try:
        return Language(Locale.parse(f"{language}_{region}" if region else language))
    except UnknownLocaleError:
        return Language(Locale.parse(language))


@cache
def _catalogue(language: str) -> NullTranslations:
    """Read at the first use: a process holds only those that its merchants read."""
    if language == _SOURCE:
        return NullTranslations()
    with (LOCALES / language / _DOMAIN).open("rb") as file:
        compiled = BytesIO()
        write_mo(compiled, read_po(file, locale=language))
    compiled.seek(0)
    return GNUTranslations(compiled)


def _pattern(digits: int) -> str:
    return f"{_WHOLE}.{'0' * digits}" if digits else _WHOLE


@lru_cache(100)
def _parsed(pattern: str) -> NumberPattern:
    return parse_pattern(pattern)


@lru_cache(4_000)
def _medium(day: date, locale: Locale) -> str:
    """A page names each of its days several times, and all pages name the same days."""
    return format_date(day, "medium", locale=locale)


def _day(day: date | str) -> date:
    return date.fromisoformat(day[:10]) if isinstance(day, str) else day


def _clock(moment: datetime | str) -> datetime:
    """What a clock shows there."""
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    return moment.replace(tzinfo=None)


ENGLISH = Language(Locale.parse(_SOURCE))
