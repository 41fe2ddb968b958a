"""Which days a request asks for."""

import re
from collections.abc import Mapping
from datetime import date, timedelta

from app.counts.only import text_of
from app.counts.period import LONGEST, Period
from app.merchant.groups import BREAKDOWNS, SHOWN, SORTS, Choice, View
from app.merchant.language import ENGLISH, Language
from app.replies import Refusal

PRESETS = {"today": 1, "7": 7, "28": 28, "90": 90}
DEFAULT = "28"
_MOST_TEXT = 200  # characters
_PAGE = re.compile("[1-9][0-9]{0,3}")


def read_period(args: Mapping[str, str], today: date, language: Language = ENGLISH) -> Period:
    """`range` is one of PRESETS and ends today; `from` and `to` are both included, and without `to`
    today is the last. Refusal."""
    if "from" not in args and "to" not in args:
        chosen = args.get("range", DEFAULT)
        if chosen not in PRESETS:
            raise refusal("range", f"must be one of {', '.join(PRESETS)}, or set from and to")
        return Period(today - timedelta(days=PRESETS[chosen] - 1), today)
    if "from" not in args:
        raise refusal("from", "must be set where to is")
    first = _day("from", args["from"])
    last = _day("to", args["to"]) if "to" in args else today
    later = "to" if "to" in args else "from"
    if last < first and later == "from":
        raise refusal("from", "must not be in the future")
    if last < first:
        words = language.gettext("The last day must not be before the first.")
        raise refusal("to", "must not be before from", words)
    if (last - first).days >= LONGEST:
        words = language.gettext("Choose at most %(days)s.", days=language.days(LONGEST))
        raise refusal(later, f"must leave a range of at most {LONGEST} days", words)
    return Period(first, last)


def read_view(args: Mapping[str, str]) -> View:
    """Which groups, and what of them, by `by`, `sort`, `page` and `show`. Refusal."""
    by, sort, page = args.get("by", "product"), args.get("sort", "visitors"), args.get("page", "1")
    if by not in BREAKDOWNS:
        raise refusal("by", f"must be one of {', '.join(BREAKDOWNS)}")
    if sort not in SORTS:
        raise refusal("sort", f"must be one of {', '.join(SORTS)}")
    if not _PAGE.fullmatch(page):
        raise refusal("page", "must be a number from 1 to 9999")
    show = args.get("show", "funnel")
    if show not in SHOWN:
        raise refusal("show", f"must be one of {', '.join(SHOWN)}")
    return View(by, sort, int(page), show)


def read_only(args: Mapping[str, str]) -> Choice | None:
    """The group that all numbers are of, by `only`. Refusal."""
    if "only" not in args:
        return None
    by, colon, value = args["only"].partition(":")
    if by not in BREAKDOWNS or not colon:
        raise refusal("only", f"must be one of {', '.join(BREAKDOWNS)}, a colon and a value")
    if len(value) > _MOST_TEXT or "\0" in value:
        raise refusal("only", f"must name a value of at most {_MOST_TEXT} characters")
    return Choice(by, text_of(BREAKDOWNS[by], value))


def read_search(args: Mapping[str, str]) -> str:
    """What is looked for among the groups, by `find`."""
    return args.get("find", "").replace("\0", "").strip()[:_MOST_TEXT]


def _day(name: str, value: str) -> date:
    try:
        day = date.fromisoformat(value)
    except ValueError:
        day = None
    if day is None or day.isoformat() != value:  # fromisoformat takes weeks and basic forms too
        raise refusal(name, "must be a day such as 2026-03-31")
    if not 1900 <= day.year < 9990:
        raise refusal(name, "is out of range")
    return day


def refusal(name: str, message: str, words: str = "") -> Refusal:
    """`message` says what is wrong with the parameter; `words` say the same to a merchant."""
    details = [{"path": name, "message": message}]
    return Refusal(400, "VALIDATION_FAILED", words or f"{name} {message}.", details=details)
