"""What is counted of a visitor's events. Pure functions; the words are the page's.

**The funnel.** A visitor has reached a step where he did all steps up to it in their order, each at
or after the one before, the first of them on a day of the range, the last no later than `window`
after that first one (also where this is after the end of the range). Several attempts are allowed,
the best one counts. The time to a step is from when he first had the step before it to when he
first had this one, by the attempts that began on the first day of the range on which he got there.

**Different visitors of any range from sums.** For each visitor and measure the days are listed. A
day adds 1 to the cell (previous = day, day), and takes 1 from the cell (previous = the day before
it in the list, day). The sum over from <= previous <= day < to is then 1 for each visitor with a
day in the range, however many he has there.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
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

# An event's kind: the catalogue's have these numbers, any other name one of report_values.
KINDS = {name: kind for kind, name in enumerate((*STEPS, CART_ADD, *SIDE_STEPS))}
_PAGE, _RESULT = KINDS[STEPS[0]], KINDS[STEPS[4]]
_CART = frozenset({KINDS[STEPS[6]], KINDS[CART_ADD]})
_LAST_STEP = len(STEPS) - 1
_FOLD = 2 * 60 * 60 * 1_000_000  # µs; where clocks go back at midnight, so does the date

# Dimensions, and the value that stands for all of them.
WHOLE, PRODUCT, VERSION, DEVICE, LANGUAGE, EVENT = range(6)
ALL = 0

# Measures. Of visitors, by day:
ANY = 0
STEP = 1  # to 7: has reached the step
SIDE = 8  # to 10
RESULT = 11  # saw a result
RESULT_CART = 12  # saw a result, and then added to the cart within the window
PAGE_OR_RESULT = 13  # saw the product page or a result
PAGE_CART_OR_RESULT = 14  # added to the cart within the window after the product page, or RESULT
# Of events, by day:
EVENTS = 20
# Of visitors, by day and seconds from the step before: two scales, to find a median in two looks.
TIME_COARSE = 10_000  # + 1,000 * step + coarse(seconds)
TIME = 1_000_000  # * step + rounded(seconds)

Cell = tuple[int, int, int, int, int]  # dimension, measure, value, previous, day
Cells = Counter[Cell]


class Event(NamedTuple):
    """`at` is in microseconds of Unix time, `day` counts from 1970-01-01 in the shop's zone; the
    rest are ids of report_values, 0 where nothing was sent."""

    at: int
    kind: int
    day: int
    product: int
    version: int
    device: int
    language: int


def count(events: Sequence[Event], window: int) -> Cells:
    """The cells of one visitor. `events` in the order of time; `window` in microseconds."""
    cells: Cells = Counter()
    for event in events:
        cells[EVENT, EVENTS, event.kind, event.day, event.day] += 1
    days = _days(events, window)
    _add(cells, WHOLE, ALL, days)
    _add_times(cells, days)
    for dimension in (PRODUCT, VERSION, DEVICE, LANGUAGE):
        values = {event[dimension + 2] for event in events}
        for value in values:
            its_days = days
            if len(values) > 1:
                its_days = _days([e for e in events if e[dimension + 2] == value], window)
            _add(cells, dimension, value, its_days, most=STEP + _LAST_STEP)
            _add(cells, dimension, ALL, its_days, most=STEP + _LAST_STEP)
    return cells


def count_anonymous(events: Sequence[Event]) -> Cells:
    """The cells of events that no visitor is known of: they count as events only."""
    return Counter((EVENT, EVENTS, event.kind, event.day, event.day) for event in events)


def rounded(seconds: int) -> int:
    """To three digits, downwards."""
    return seconds if seconds < 1000 else seconds - seconds % 10 ** (len(str(seconds)) - 3)


def coarse(seconds: int) -> int:
    """0 for 0, then 9 to a power of ten: the first digit of how many."""
    return 9 * (len(text) - 1) + int(text[0]) if (text := str(seconds)) != "0" else 0


def coarse_range(number: int) -> tuple[int, int]:
    """The seconds that `coarse` maps to `number`, the second excluded."""
    if number == 0:
        return 0, 1
    power, digit = divmod(number - 1, 9)
    return (digit + 1) * 10**power, (digit + 2) * 10**power


class _Day(NamedTuple):
    measures: set[int]
    times: dict[int, int]  # step (from 0) to seconds from the step before


def _days(events: Sequence[Event], window: int) -> dict[int, _Day]:
    days: defaultdict[int, _Day] = defaultdict(lambda: _Day(set(), {}))
    for event in events:
        measures = days[event.day].measures
        measures.add(ANY)
        if event.kind == _PAGE:
            measures |= {STEP, PAGE_OR_RESULT}
        elif event.kind == _RESULT:
            measures |= {RESULT, PAGE_OR_RESULT, PAGE_CART_OR_RESULT}
        elif KINDS[CART_ADD] < event.kind < len(KINDS):
            measures.add(SIDE + event.kind - KINDS[SIDE_STEPS[0]])
    kinds = {event.kind for event in events}
    steps: list[Collection[int]] = [(kind,) for kind in range(len(STEPS))]
    if _PAGE in kinds and 1 in kinds:
        for day, reached in _reached(events, steps, window):
            for step in range(1, len(reached)):
                days[day].measures.add(STEP + step)
                days[day].times[step] = (reached[step] - reached[step - 1]) // 1_000_000
    if kinds & _CART:
        for first, measure in ((_PAGE, PAGE_CART_OR_RESULT), (_RESULT, RESULT_CART)):
            for day, reached in _reached(events, [(first,), _CART], window):
                if len(reached) == 2:
                    days[day].measures.add(measure)
    return dict(sorted(days.items()))


def _reached(
    events: Sequence[Event], steps: Sequence[Collection[int]], window: int
) -> Iterator[tuple[int, list[int]]]:
    """For each day with a first step: when each step was reached first, in attempts of that day."""
    stages = {kind: stage for stage, kinds in enumerate(steps) for kind in kinds}
    # At the same moment a step may follow the one before it.
    ordered = sorted(
        ((e.at, stages[e.kind], e.day) for e in events if e.kind in stages),
    )
    starts = {day: at for at, stage, day in reversed(ordered) if stage == 0}
    for day, start in starts.items():
        # For each stage, the latest beginning of an attempt that has come so far.
        begun: list[int | None] = [None] * len(steps)
        firsts: list[int] = []
        for at, stage, own_day in ordered[bisect_left(ordered, (start, 0, day)) :]:
            latest = begun[0]
            if latest is not None and at - latest > window + _FOLD and own_day > day:
                break
            beginning = at if stage == 0 else begun[stage - 1]
            if beginning is None or at - beginning > window or (stage == 0 and own_day != day):
                continue
            reached = begun[stage]
            begun[stage] = beginning if reached is None else max(reached, beginning)
            if len(firsts) == stage:
                firsts.append(at)
        yield day, firsts


def _add(
    cells: Cells, dimension: int, value: int, days: dict[int, _Day], most: int = EVENTS
) -> None:
    before: dict[int, int] = {}
    for day, (measures, _) in days.items():
        for measure in measures:
            if measure <= most:
                cells[dimension, measure, value, day, day] += 1
                if measure in before:
                    cells[dimension, measure, value, before[measure], day] -= 1
                before[measure] = day


def _add_times(cells: Cells, days: dict[int, _Day]) -> None:
    """A day's time counts in the ranges in which it is the first day with that step: those which
    begin after the day before it with that step."""
    before: dict[int, int] = {}
    for day, (_, times) in days.items():
        for step, seconds in times.items():
            for measure in (
                TIME_COARSE + 1_000 * step + coarse(seconds),
                TIME * step + rounded(seconds),
            ):
                cells[WHOLE, measure, ALL, day, day] += 1
                if step in before:
                    cells[WHOLE, measure, ALL, before[step], day] -= 1
            before[step] = day
