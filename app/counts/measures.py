"""What is counted, by name; the numbers are those stored in `report_counts`.

**Different visitors of any range from sums.** For each visitor and measure the days are listed. A
day adds 1 to the cell (previous = day, day), and takes 1 from the cell (previous = the day before
it in the list, day). The sum over from <= previous <= day < to is then 1 for each visitor with a
day in the range, however many days they have there. Other rules of which ranges count are written
the same way, as a day with the ranges' beginnings (app.counts.tally).
"""

from enum import IntEnum
from typing import NamedTuple

from app.batch.news import WITHOUT_WIDGET

STEPS = (
    "product_page:page_view",
    "widget:button_click",
    "widget:image_upload",
    "widget:generation_start",
    "widget:result_view",
    "widget:add_to_cart_clicked",
    "widget:add_to_cart_success",
)
SIDE_STEPS = ("widget:share_clicked", "widget:download_clicked", "widget:email_collected")
CART_ADD = "product_page:cart_add"

# An event's kind: the catalogue's have these numbers.
KINDS = {name: kind for kind, name in enumerate((*STEPS, CART_ADD, *SIDE_STEPS))}
OTHER_KIND = 255  # any other name's
# Of whatever counts as an event only: it came too late, or nobody who shops did it.
EVENT_ONLY = 254
OTHER_WIDGET = 253  # any other name's that begins with widget:
# Where the page had no widget they count as events only, but in an experiment.
_WITHOUT_WIDGET = 64
_OTHER_WITHOUT_WIDGET = 252
_IN_EXPERIMENT = {_WITHOUT_WIDGET + kind: kind for kind in KINDS.values()}
_IN_EXPERIMENT[_OTHER_WITHOUT_WIDGET] = OTHER_WIDGET
NOT_SHOWN = frozenset({EVENT_ONLY, *_IN_EXPERIMENT})

CART_KINDS = frozenset({KINDS[STEPS[-1]], KINDS[CART_ADD]})
WIDGET_KINDS = frozenset({*(KINDS[name] for name in (*STEPS[1:], *SIDE_STEPS)), OTHER_WIDGET})


class _Kinds(dict[str | None, int]):
    def __missing__(self, name: str) -> int:
        if name.startswith(WITHOUT_WIDGET):
            is_widgets = name.startswith(f"{WITHOUT_WIDGET}widget:")
            return _OTHER_WITHOUT_WIDGET if is_widgets else EVENT_ONLY
        return OTHER_WIDGET if name.startswith("widget:") else OTHER_KIND


KIND_OF = _Kinds(KINDS)  # of any name as it is announced (app.batch.news)
KIND_OF |= {f"{WITHOUT_WIDGET}{name}": _WITHOUT_WIDGET + kind for name, kind in KINDS.items()}
KIND_OF[None] = EVENT_ONLY


def in_experiment(kind: int) -> int:
    """The kind, whether or not the page had a widget: who is held back from it counts as well."""
    return _IN_EXPERIMENT.get(kind, kind)


# Of what is counted of what visitors did. With another one each shop is counted again
# (app.counts.rollups), which takes a migration such as 0045.
COUNTED = 3


class Dimension(IntEnum):
    """What visitors are told apart by; EVENT is of events, and the last three are of times. A
    product has a part of its own in each day, the values of the others are together in one."""

    WHOLE = 0
    PRODUCT = 1
    VERSION = 2
    DEVICE = 3
    LANGUAGE = 4
    EVENT = 5
    COARSE = 6  # the value is a step, the measure a bucket (app.counts.times)
    FINE = 7  # the part is a step's bucket or a span's class, the value the seconds
    SPAN = 8  # the value is a span, the measure a class; in COARSE the release before would fail


ALL = 0  # the value, or the part, that stands for all values of a dimension
OTHERS = 1  # the value of those beyond the most that a shop can have


class Measure(IntEnum):
    """Of visitors by day, but EVENTS.

    "Added" is to the cart, in the widget or on the product page, within the window; but CART_ADDED
    is in the widget.
    """

    VISITORS = 0
    PAGE_VIEWED = 1  # the seven steps of the funnel, each reached after all before it
    BUTTON_CLICKED = 2
    PHOTO_UPLOADED = 3
    GENERATION_STARTED = 4
    RESULT_VIEWED = 5
    CART_CLICKED = 6
    CART_ADDED = 7
    SHARED = 8
    DOWNLOADED = 9
    EMAIL_COLLECTED = 10
    SAW_RESULT = 11
    SAW_RESULT_ADDED = 12  # this and the next two: for the release before, if it must come back
    SAW_PAGE_OR_RESULT = 13
    SAW_PAGE_ADDED_OR_RESULT = 14
    EXPOSED = 15  # saw the product page or a result before they added anything on that day
    TRIED = 16  # the comparison's (app.counts.visitor): decided by a result
    TRIED_ADDED = 17
    TRIED_ADDED_SAME = 18  # the product that they tried on
    UNTRIED_ADDED = 19  # decided by an add
    EVENTS = 20


# In the order of STEPS and of SIDE_STEPS.
STEP_MEASURES = (
    Measure.PAGE_VIEWED,
    Measure.BUTTON_CLICKED,
    Measure.PHOTO_UPLOADED,
    Measure.GENERATION_STARTED,
    Measure.RESULT_VIEWED,
    Measure.CART_CLICKED,
    Measure.CART_ADDED,
)
SIDE_MEASURES = (Measure.SHARED, Measure.DOWNLOADED, Measure.EMAIL_COLLECTED)
# A visitor counts in one of these, by their first day in a range with one.
DECISIONS = frozenset({Measure.TRIED, Measure.UNTRIED_ADDED})
# And in these by any day in the range, if they count in TRIED.
ADDED_BY_TRIED = (Measure.TRIED_ADDED, Measure.TRIED_ADDED_SAME)


class Event(NamedTuple):
    """`at` is in microseconds of Unix time, `day` counts from 1970-01-01 in the shop's zone; the
    rest are ids of report_values."""

    at: int
    kind: int
    day: int
    product: int
    version: int
    device: int
    language: int
