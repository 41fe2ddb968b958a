"""Phrases with numbers in them, on the page and in the terminal."""

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
