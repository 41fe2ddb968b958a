"""ISO 8601 date-times as browsers and widgets send them."""

import re
from datetime import UTC, datetime, timedelta

_FORM = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{0,9}))?)?"
    r"(?:[Zz]|([+-])(\d\d)(?::?(\d\d))?)?",
    re.ASCII,
)
# datetime knows no year 0, an offset may still lead out of it: such a time is read one cycle of
# the calendar (400 years, always as many days) later and moved back at the end.
_CYCLE = timedelta(days=146_097)


def _is_plain(text: str) -> bool:
    """Whether it looks as JavaScript's toISOString() makes it, with or without milliseconds.
    Python's parser takes other forms too, but none with these characters in these places."""
    return (
        len(text) in (20, 24)
        and text[10] == "T"
        and text[13] == text[16] == ":"
        and text[4] == text[7] == "-"
        and text[-1] == "Z"
        and (len(text) == 20 or text[19] == ".")
    )


def parse_timestamp(text: str) -> datetime:
    """The instant in UTC, cut to microseconds; a time without an offset is UTC.

    24:00:00 is the next day's midnight and a leap second (:60) the next minute's first second, as
    ISO 8601 and RFC 3339 have them. ValueError for anything else, including a date alone and years
    outside 1 to 9999.
    """
    if _is_plain(text):
        try:
            return datetime.fromisoformat(text)
        except ValueError:
            pass  # said below, in our words
    match = _FORM.fullmatch(text)
    if match is None:
        raise ValueError("must be an ISO 8601 date and time, such as 2024-01-15T10:30:00Z")
    year, month, day, hour, minute, second, fraction, sign, off_hours, off_minutes = match.groups()
    extra = timedelta()
    if second == "60":
        second, extra = "59", timedelta(seconds=1)
    if hour == "24" and minute == "00" and not (second or "").strip("0") and not extra:
        if (fraction or "").strip("0"):
            raise ValueError("is not a time of day")
        hour, extra = "00", timedelta(days=1)
    if sign:
        if int(off_hours) > 23 or int(off_minutes or 0) > 59:
            raise ValueError("has an offset beyond 23:59")
        offset = timedelta(hours=int(off_hours), minutes=int(off_minutes or 0))
        extra += -offset if sign == "+" else offset
    if year == "0000":
        year, extra = "0400", extra - _CYCLE
    try:
        return (
            datetime(
                int(year), int(month), int(day), int(hour), int(minute), int(second or 0),
                int((fraction or "").ljust(6, "0")[:6]), UTC,
            )
            + extra
        )  # fmt: skip
    except ValueError:
        raise ValueError("is not a date and time of the calendar") from None
    except OverflowError:
        raise ValueError("lies outside of the years 1 to 9999") from None
