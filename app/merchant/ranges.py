"""Which days a request asks for."""

from collections.abc import Mapping
from datetime import date, timedelta

from app.counts.period import LONGEST, Period
from app.merchant.reports import BREAKDOWNS
from app.replies import Refusal

PRESETS = {"today": 1, "7": 7, "28": 28, "90": 90}
DEFAULT = "28"


def read_period(args: Mapping[str, str], today: date) -> Period:
    """`range` is one of PRESETS and ends today; `from` and `to` are both included. Refusal."""
    first, last = args.get("from", ""), args.get("to", "")
    if not (first or last):
        chosen = args.get("range", DEFAULT)
        if chosen not in PRESETS:
            raise refusal("range", f"must be one of {', '.join(PRESETS)}, or set from and to")
        return Period(today - timedelta(days=PRESETS[chosen] - 1), today)
    period = Period(_day("from", first), _day("to", last) if last else today)
    if not 0 <= (period.last - period.first).days < LONGEST:
        raise refusal(
            "to", f"must not be before from, and the range must not exceed {LONGEST} days"
        )
    return period


def read_by(args: Mapping[str, str]) -> str:
    by = args.get("by", "product")
    if by not in BREAKDOWNS:
        raise refusal("by", f"must be one of {', '.join(BREAKDOWNS)}")
    return by


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


def refusal(name: str, message: str) -> Refusal:
    details = [{"path": name, "message": message}]
    return Refusal(400, "VALIDATION_FAILED", f"{name} {message}.", details=details)
