"""What one visitor's events add to the counts. Pure functions.

**The funnel.** A visitor has reached a step where they did all steps up to it in their order, each
at or after the one before, the first of them on a day of the range, the last no later than `window`
after that first one (also where this is after the end of the range). Several attempts are allowed,
the best one counts. Each view of a product page begins an attempt.

A photo that the widget has kept is not uploaded again: a generation that follows the button without
an upload stands for the photo as well, or the visitor would be lost at that step.

The time to a step is from the step before it, in the attempt that was the first to get there, on
the first day of the range with one. A kept photo has no time, to it or from it. So are the times of
spans: to the last step from that attempt's view of the product page, and to the result from its
first click of the button.

**The comparison.** On each day the first that a visitor did of three things decides: they saw a
result ("tried"); or, having seen the product page on that day and no result since, they added to
the cart within `window` ("added untried"). In a range their first decided day decides: who added
first and tried later is not one who tried and did not add. A visitor who tried has added where they
did so within `window` of a result on one of the days in the range on which they tried. A day that
begins with an add shows nothing of what led to it, and is left out.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import NamedTuple

from app.counts.measures import (
    ADDED_BY_TRIED,
    CART_ADD,
    DECISIONS,
    KINDS,
    SIDE_MEASURES,
    SIDE_STEPS,
    STEP_MEASURES,
    STEPS,
    Event,
    Measure,
)
from app.counts.times import CLICK_TO_RESULT, PAGE_TO_CART

_FOLD = 2 * 60 * 60 * 1_000_000  # µs; where clocks go back at midnight, so does the date
EVER = 2**62  # µs

_PAGE, _BUTTON, _RESULT, _ADDED = (KINDS[STEPS[step]] for step in (0, 1, 4, 6))
_CART = frozenset({_ADDED, KINDS[CART_ADD]})
_DECISIVE = frozenset({_RESULT}) | _CART
_DECIDING = frozenset({_PAGE}) | _DECISIVE

# An event's kind is also the stage that it is in an attempt, if it is one of these.
_FUNNEL = range(len(STEPS))
_CLICK, _PHOTO, _GENERATION, _VIEW, _CART_ADDED = 1, 2, 3, 4, 6


def _bits(*measures: Measure) -> int:
    return sum(1 << measure for measure in measures)


# Sets of measures, a bit for each. What an event of a kind counts for on its day, whatever else the
# visitor did:
_ANY = _bits(Measure.VISITORS)
_BY_ITSELF = {
    _PAGE: _ANY | _bits(Measure.PAGE_VIEWED, Measure.SAW_PAGE_OR_RESULT),
    _RESULT: _ANY
    | _bits(Measure.SAW_RESULT, Measure.SAW_PAGE_OR_RESULT, Measure.SAW_PAGE_ADDED_OR_RESULT),
} | {
    KINDS[event]: _ANY | _bits(measure)
    for event, measure in zip(SIDE_STEPS, SIDE_MEASURES, strict=True)
}
_STEPS = [_bits(*STEP_MEASURES[:number]) for number in range(len(STEPS) + 1)]  # as many as reached
_EXPOSED, _TRIED = _bits(Measure.EXPOSED), _bits(Measure.TRIED)
_TRIED_ADDED = _bits(Measure.TRIED_ADDED, Measure.SAW_RESULT_ADDED)
_TRIED_ADDED_SAME = _bits(Measure.TRIED_ADDED_SAME)
_ALL_OF_TRIED = _EXPOSED | _TRIED | _TRIED_ADDED | _TRIED_ADDED_SAME
_UNTRIED_ADDED = _bits(Measure.UNTRIED_ADDED, Measure.SAW_PAGE_ADDED_OR_RESULT)

_OF_TRIED = frozenset({Measure.TRIED, *ADDED_BY_TRIED})

_kind_and_day = attrgetter("kind", "day")

MOST_SHORT = 16  # events of a visit whose order is remembered

Measures = frozenset[int]
Days = dict[int, Measures]  # a day's measures
# A day's steps (from 0), with seconds from the step before, and spans (app.counts.times).
Times = dict[int, dict[int, int]]


class _Step(NamedTuple):
    """When a step was first reached, and when that attempt reached the one before; None where the
    time between them tells nothing. When the attempt began, and first came to the button."""

    since: int | None
    at: int
    begun: int
    clicked: int


def days_and_times(
    events: Sequence[Event], window: int, *, began_by: int = EVER
) -> tuple[Days, Times]:
    """By day in order: what was reached in attempts that began on it, and how fast. `events` in the
    order of time; `window` in microseconds; what began later than `began_by` is left out."""
    visits = _visits(events, window) if events[-1].at <= began_by else None
    if visits is not None:
        return _of_visits(visits)
    days: defaultdict[int, int] = defaultdict(int)
    times: Times = {}
    kinds_and_days = set(map(_kind_and_day, events))
    kinds = {kind for kind, _ in kinds_and_days}
    # Without a result and an add each day with the page is one of an exposed visitor, and no more.
    is_undecided = _DECISIVE.isdisjoint(kinds) and began_by == EVER
    of_page = _BY_ITSELF[_PAGE] if began_by == EVER else _ANY
    by_itself = _BY_ITSELF | {_PAGE: of_page | _EXPOSED if is_undecided else of_page}
    for kind, day in kinds_and_days:
        days[day] |= by_itself.get(kind, _ANY)
    if _PAGE in kinds and (_BUTTON in kinds or began_by != EVER):
        for day, reached in _attempts(events, window, began_by):
            days[day] |= _STEPS[len(reached)]
            times[day] = {
                number: (at - since) // 1_000_000 for number, since, at in _timed(reached)
            }
    if not is_undecided:
        for day, measures in _decisions(events, window, began_by):
            days[day] |= measures
    return {day: _measures(days[day]) for day in sorted(days)}, {
        day: times[day] for day in sorted(times) if times[day]
    }


@lru_cache(20_000)
def _measures(bits: int) -> Measures:
    return frozenset(measure for measure in range(bits.bit_length()) if bits >> measure & 1)


def _visits(events: Sequence[Event], window: int) -> list[Sequence[Event]] | None:
    """Each day's events, where they are few, one attempt can last for all of them, and none reaches
    into another day; else None."""
    visits: list[Sequence[Event]] = []
    begin = 0
    for place in range(1, len(events) + 1):
        if place - begin > MOST_SHORT:
            return None
        is_last = place == len(events)
        if is_last or events[place].day != events[begin].day:
            visit = events[begin:place]
            if visit[-1].at - visit[0].at > window:
                return None
            if visits and visit[0].day < visits[-1][0].day:  # clocks were put back
                return None
            if not is_last and events[place].at - visit[-1].at <= window:
                return None
            visits.append(visit)
            begin = place
    return visits


def _of_visits(visits: Sequence[Sequence[Event]]) -> tuple[Days, Times]:
    days: Days = {}
    times: Times = {}
    for events in visits:
        day, kinds = events[0].day, bytes([event.kind for event in events])
        days[day], steps = of_order(kinds, which(kinds, [event.product for event in events]))
        of_day = {
            step: (events[place].at - events[before].at) // 1_000_000
            for step, before, place in steps
        }
        if of_day:
            times[day] = of_day
    return days, times


def which(kinds: bytes, products: Sequence[object]) -> bytes:
    """A number for each event's product, the same for the same; none where it does not matter
    that they are different, or all are the same."""
    if _RESULT not in kinds or _CART.isdisjoint(kinds):
        return b""
    numbers = {product: number for number, product in enumerate(dict.fromkeys(products))}
    return bytes(map(numbers.__getitem__, products)) if len(numbers) > 1 else b""


@lru_cache(20_000)
def of_order(kinds: bytes, products: bytes = b"") -> tuple[Measures, list[tuple[int, int, int]]]:
    """What is reached within one day and one window, where only the order of what was done matters,
    and with which of the products: the measures; and the steps and spans that have a time, each
    with the places in `kinds` from which and to which it is."""
    measures = 0
    for kind in kinds:
        measures |= _BY_ITSELF.get(kind, _ANY)
    ordered = [(place, kind, 0) for place, kind in enumerate(kinds) if kind in _FUNNEL]
    reached = _reached(ordered, 0, 0, EVER, EVER) if _PAGE in kinds else []
    measures |= _STEPS[len(reached)]
    events = [
        Event(place, kind, 0, product, 0, 0, 0)
        for place, (kind, product) in enumerate(
            zip(kinds, products or bytes(len(kinds)), strict=True)
        )
    ]
    for _, decided in _decisions(events, EVER, EVER):
        measures |= decided
    return _measures(measures), _timed(reached)


def _timed(reached: Sequence[_Step]) -> list[tuple[int, int, int]]:
    """Steps and spans that have a time, each with its beginning and end."""
    timed = [
        (number, step.since, step.at)
        for number, step in enumerate(reached)
        if step.since is not None
    ]
    if len(reached) > _VIEW:
        timed.append((CLICK_TO_RESULT, reached[_VIEW].clicked, reached[_VIEW].at))
    if len(reached) > _CART_ADDED:
        timed.append((PAGE_TO_CART, reached[_CART_ADDED].begun, reached[_CART_ADDED].at))
    return timed


def in_range(days: Mapping[int, Measures], first: int, end: int) -> set[int]:
    """The measures that the visitor counts in, from the first day to the one before the end."""
    measures: set[int] = set()
    within = [of_day for day, of_day in days.items() if first <= day < end]
    for of_day in within:
        measures |= of_day
    decided = [of_day for of_day in within if not of_day.isdisjoint(DECISIONS)]
    if decided:
        measures -= {Measure.UNTRIED_ADDED} if Measure.TRIED in decided[0] else _OF_TRIED
    return measures


def _attempts(
    events: Sequence[Event], window: int, began_by: int
) -> Iterator[tuple[int, list[_Step]]]:
    """For each day with a first step: when attempts of that day first reached each step."""
    # At the same moment a step may follow the one before it: as kinds do in the events' order.
    ordered = [event[:3] for event in events if event.kind in _FUNNEL]
    starts = {day: at for at, stage, day in reversed(ordered) if stage == 0 and at <= began_by}
    for day, start in starts.items():
        place = bisect_left(ordered, (start, 0, day))
        yield day, _reached(ordered, place, day, window, began_by)


def _reached(
    ordered: Sequence[tuple[int, int, int]], start: int, day: int, window: int, began_by: int
) -> list[_Step]:
    """Of times, stages and days."""
    # For each step, the latest beginning of an attempt that has come so far, and when it did; and
    # when it first came to the button.
    begun: list[int | None] = [None] * len(STEPS)
    came: list[int | None] = [None] * len(STEPS)
    clicked = [0] * len(STEPS)
    reached: list[_Step] = []

    def arrive(stage: int, at: int, *, is_timed: bool = True) -> None:
        beginning = at if stage == 0 else begun[stage - 1]
        if beginning is None or at - beginning > window:
            return
        click = clicked[stage - 1] if stage > _CLICK else at
        latest = begun[stage]
        if latest is None or beginning > latest:
            begun[stage], came[stage] = beginning, at if is_timed else None
            clicked[stage] = click
        if len(reached) == stage:
            since = came[stage - 1] if stage and is_timed else None
            reached.append(_Step(since, at, beginning, click))

    for place in range(start, len(ordered)):
        at, stage, event_day = ordered[place]
        latest = begun[0]
        if latest is not None and at - latest > window + _FOLD and event_day > day:
            break
        if stage == 0 and (event_day != day or at > began_by):
            continue
        if stage == _GENERATION:
            arrive(_PHOTO, at, is_timed=False)
        arrive(stage, at)
        if len(reached) == len(STEPS):
            break
    return reached


def _decisions(events: Sequence[Event], window: int, began_by: int) -> Iterator[tuple[int, int]]:
    """By day what the comparison takes from it, as bits."""
    deciding = [event for event in events if event.kind in _DECIDING]
    firsts = {event.day: place for place, event in reversed(list(enumerate(deciding)))}
    ends = {event.day: event.at + window for event in deciding if event.kind not in _CART}
    for day, place in firsts.items():
        if deciding[place].kind not in _CART and deciding[place].at <= began_by:
            yield day, _decision(deciding, place, ends[day], window, began_by)


def _decision(deciding: Sequence[Event], first: int, until: int, window: int, began_by: int) -> int:
    """Of the day of the one at the `first` place, by those that happened `until` then."""
    day = deciding[first].day
    page_at: int | None = None
    result_at: int | None = None
    result_of: dict[int, int] = {}  # when a result of a product was seen last
    measures = _EXPOSED
    for place in range(first, len(deciding)):
        event = deciding[place]
        if event.at > until or measures == _ALL_OF_TRIED:
            break
        if event.kind == _PAGE:
            if event.day == day and event.at <= began_by:
                page_at = event.at
        elif event.kind == _RESULT:
            page_at = None
            if event.day == day and event.at <= began_by:
                measures |= _TRIED
                result_at = result_of[event.product] = event.at
        elif result_at is not None:
            if event.at - result_at <= window:
                measures |= _TRIED_ADDED
            if event.at - result_of.get(event.product, -EVER) <= window:
                measures |= _TRIED_ADDED_SAME
        elif page_at is not None and event.at - page_at <= window:
            return measures | _UNTRIED_ADDED
    return measures
