"""Phrases with numbers in them, on the page and in the terminal."""

from typing import Any

from app.merchant.language import NOTHING, Language


def points(language: Language, share: float | None) -> str:
    """Of a difference of two shares of 1, with its sign."""
    if share is None:
        return NOTHING
    return language.gettext("%(difference)s points", difference=language.signed(100 * share, 1))


def change(language: Language, now: int, before: int, until: str | None = None) -> str:
    """Against the period before; `until` where it was cut at this hour."""
    _ = language.gettext
    if not before and until:
        return _("none in the same hours of the period before")
    if not before:
        return _("none in the period before")
    values = {
        "change": language.change((now - before) / before),
        "number": language.number(before),
    }
    if until:
        return _("%(change)s from %(number)s in the same hours of the period before", **values)
    return _("%(change)s from %(number)s in the period before", **values)


def waiting(language: Language, visitors: int, hours: int) -> str:
    """Who is in no rate yet."""
    return language.ngettext(
        "%(number)s visitor is still within their %(window)s, and in none of these rates.",
        "%(number)s visitors are still within their %(window)s, and in none of these rates.",
        visitors,
        window=language.hours(hours),
    )


def events(language: Language) -> dict[str, str]:
    """What each event of the report is called."""
    _ = language.gettext
    return {
        "product_page:page_view": _("Product page viewed"),
        "widget:button_click": _("Button clicked"),
        "widget:image_upload": _("Photo uploaded"),
        "widget:generation_start": _("Generation started"),
        "widget:result_view": _("Result viewed"),
        "widget:add_to_cart_clicked": _("Add clicked in the widget"),
        "widget:add_to_cart_success": _("Added in the widget"),
        "widget:share_clicked": _("Result shared"),
        "widget:download_clicked": _("Result downloaded"),
        "widget:email_collected": _("Email collected"),
    }


def spans(language: Language) -> dict[str, str]:
    """What each time of the report is from and to."""
    _ = language.gettext
    return {
        "page_to_cart": _("From product page to added in the widget"),
        "click_to_result": _("From button to result"),
    }


def time_class(language: Language, low: int, high: int | None) -> str:
    """Times from some seconds to below others; None: of any length."""
    _ = language.gettext
    if high is None:
        return _("%(time)s or longer", time=language.duration(low))
    if not low:
        return _("under %(time)s", time=language.duration(high))
    return _("%(low)s to %(high)s", low=language.duration(low), high=language.duration(high))


def took(language: Language, time: dict[str, Any], limit: int) -> str:
    """How long it took, in a sentence; one of the report's times."""
    if not time["visitors"]:
        return language.gettext("Nobody got there in this period.")
    return language.ngettext(
        "The median of %(number)s visitor is %(median)s; %(share)s took less than %(limit)s.",
        "The median of %(number)s visitors is %(median)s; %(share)s took less than %(limit)s.",
        time["visitors"],
        median=language.duration(time["median_seconds"]),
        share=language.percent(time["within_5_minutes"]),
        limit=language.duration(limit),
    )


def groups(language: Language) -> dict[str, dict[str, str]]:
    """By what visitors are broken down: each one's name, title, and how a visitor counts."""
    _ = language.gettext
    return {
        "product": {
            "name": _("Product"),
            "title": _("By product"),
            "words": _(
                "Visitors per product. Someone active on two products counts in both."
            ),
        },
        "version": {
            "name": _("Widget version"),
            "title": _("By widget version"),
            "words": _(
                "Visitors per widget version. Someone active on two versions counts in both."
            ),
        },
        "device": {
            "name": _("Device"),
            "title": _("By device"),
            "words": _("Visitors per device. Someone active on two devices counts in both."),
        },
        "language": {
            "name": _("Language"),
            "title": _("By language"),
            "words": _(
                "Visitors per language. Someone active in two languages counts in both."
            ),
        },
    }  # fmt: skip
