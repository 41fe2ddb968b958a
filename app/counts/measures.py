"""What is counted, by name; the numbers are those stored in `report_counts`.

**Different visitors of any range from sums.** For each visitor and measure the days are listed. A
day adds 1 to the cell (previous = day, day), and takes 1 from the cell (previous = the day before
it in the list, day). The sum over from <= previous <= day < to is then 1 for each visitor with a
day in the range, however many days they have there.
"""

from enum import IntEnum
from typing import NamedTuple

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
LATE = 254  # of whatever counts as an event only, because it came too late
OTHER_WIDGET = 253  # any other name's that begins with widget:

CART_KINDS = frozenset({KINDS[STEPS[-1]], KINDS[CART_ADD]})
WIDGET_KINDS = frozenset({*(KINDS[name] for name in (*STEPS[1:], *SIDE_STEPS)), OTHER_WIDGET})


class _Kinds(dict[str | None, int]):
    def __missing__(self, name: str) -> int:
        return OTHER_WIDGET if name.startswith("widget:") else OTHER_KIND


KIND_OF = _Kinds(KINDS)  # of any name; of None where it came too late
KIND_OF[None] = LATE


class Dimension(IntEnum):
    """What visitors are told apart by; EVENT is of events, and the last two are of times. A product
    has a part of its own in each day, the values of the others are together in one."""

    WHOLE = 0
    PRODUCT = 1
    VERSION = 2
    DEVICE = 3
    LANGUAGE = 4
    EVENT = 5
    COARSE = 6  # the value is a step, the measure a bucket (app.counts.times)
    FINE = 7  # the part is a step's bucket, the value the seconds


ALL = 0  # the value, or the part, that stands for all values of a dimension
OTHERS = 1  # the value of those beyond the most that a shop can have


class Measure(IntEnum):
    """Of visitors by day, but EVENTS.

    "Added" is to the cart, in the widget or on the product page, within the window.
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
    SAW_RESULT_ADDED = 12
    SAW_PAGE_OR_RESULT = 13
    SAW_PAGE_ADDED_OR_RESULT = 14  # added after the product page, or saw a result
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
