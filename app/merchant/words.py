"""Numbers as a merchant reads them, on the page and in the terminal."""

NOTHING = "\N{EN DASH}"


def duration(seconds: int | None) -> str:
    """Such as 45 s, 2 min 5 s, 3 h 20 min."""
    if seconds is None:
        return NOTHING
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        minutes, rest = divmod(seconds, 60)
        return f"{minutes} min {rest} s" if rest and minutes < 10 else f"{minutes} min"
    hours, rest = divmod(seconds, 3600)
    return f"{hours} h {rest // 60} min" if rest >= 60 else f"{hours} h"


def percent(share: float | None) -> str:
    """Of a share of 1."""
    return NOTHING if share is None else f"{100 * share:.1f} %"


def points(share: float | None) -> str:
    """Of a difference of two shares of 1, with its sign."""
    return NOTHING if share is None else f"{100 * share:+.1f} points".replace("-", "\N{MINUS SIGN}")


def change(now: int, before: int, until: str | None = None) -> str:
    """Against the period before, in words; `until` where it was cut at this hour."""
    period = "the same hours of the period before" if until else "the period before"
    if not before:
        return f"none in {period}"
    share = f"{100 * (now - before) / before:+.0f} %".replace("-", "\N{MINUS SIGN}")
    return f"{share} from {before:,} in {period}"


def waiting(visitors: int, hours: int) -> str:
    """Who is in no rate yet."""
    are = "visitor is" if visitors == 1 else "visitors are"
    return f"{visitors:,} {are} still within their {window(hours)}, and in none of these rates."


def window(hours: int) -> str:
    """Within which an attempt counts."""
    if hours == 1:
        return "1 hour"
    return "7 days" if hours == 168 else f"{hours} hours"
