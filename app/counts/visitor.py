"""What one visitor's events add to the counts. Pure functions.

**The funnel.** A visitor has reached a step where they did all steps up to it in their order, each
at or after the one before, the first of them on a day of the range, the last no later than `window`
after that first one (also where this is after the end of the range). Several attempts are allowed,
the best one counts.

The time to a step is from when they first had the step before it to when they first had this one,
by the attempts that began on the first day of the range on which they got there.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from operator import attrgetter

from app.counts.measures import (
    CART_ADD,
    KINDS,
    SIDE_MEASURES,
    SIDE_STEPS,
    STEP_MEASURES,
    STEPS,
    Event,
    Measure,
)

_FOLD = 2 * 60 * 60 * 1_000_000  # µs; where clocks go back at midnight, so does the date

_PAGE, _BUTTON, _RESULT, _ADDED = (KINDS[STEPS[step]] for step in (0, 1, 4, 6))
_CART = frozenset({_ADDED, KINDS[CART_ADD]})

# The stage that an event's kind is in an attempt, from 0.
_FUNNEL = {KINDS[name]: stage for stage, name in enumerate(STEPS)}
_PAGE_TO_CART = {_PAGE: 0} | dict.fromkeys(_CART, 1)
_RESULT_TO_CART = {_RESULT: 0} | dict.fromkeys(_CART, 1)
_TO_CART = (
    (_PAGE_TO_CART, Measure.SAW_PAGE_ADDED_OR_RESULT),
    (_RESULT_TO_CART, Measure.SAW_RESULT_ADDED),
)

# What an event of a kind counts for on its day, whatever else the visitor did.
_ANY = frozenset({Measure.VISITORS})
_BY_ITSELF = {
    _PAGE: {Measure.VISITORS, Measure.PAGE_VIEWED, Measure.SAW_PAGE_OR_RESULT},
    _RESULT: {
        Measure.VISITORS,
        Measure.SAW_RESULT,
        Measure.SAW_PAGE_OR_RESULT,
        Measure.SAW_PAGE_ADDED_OR_RESULT,
    },
} | {
    KINDS[event]: {Measure.VISITORS, measure}
    for event, measure in zip(SIDE_STEPS, SIDE_MEASURES, strict=True)
}

_kind_and_day = attrgetter("kind", "day")

MOST_SHORT = 16  # events of a visit whose order is remembered

Measures = frozenset[int]
Days = dict[int, Measures]  # a day's measures
Times = dict[int, dict[int, int]]  # a day's steps (from 0), with seconds from the step before


def days_and_times(events: Sequence[Event], window: int) -> tuple[Days, Times]:
    """By day in order: what was reached in attempts that began on it, and how fast. `events` in the
    order of time; `window` in microseconds."""
    visits = _visits(events, window)
    if visits is not None:
        return _of_visits(visits)
    days: defaultdict[int, set[int]] = defaultdict(set)
    times: Times = {}
    kinds = set()
    for kind, day in set(map(_kind_and_day, events)):
        kinds.add(kind)
        days[day] |= _BY_ITSELF.get(kind, _ANY)
    if _PAGE in kinds and _BUTTON in kinds:
        for day, reached in _attempts(events, _FUNNEL, window):
            days[day].update(STEP_MEASURES[: len(reached)])
            times[day] = {
                step: (reached[step] - reached[step - 1]) // 1_000_000
                for step in range(1, len(reached))
            }
    if kinds & _CART:
        for stages, measure in _TO_CART:
            for day, reached in _attempts(events, stages, window):
                if len(reached) == 2:
                    days[day].add(measure)
    return {day: frozenset(map(int, days[day])) for day in sorted(days)}, dict(
        sorted(times.items())
    )


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
        day = events[0].day
        days[day], places = of_order(bytes([event.kind for event in events]))
        if places:
            at = [events[place].at for place in places]
            of_day = {step: (at[step] - at[step - 1]) // 1_000_000 for step in range(1, len(at))}
            if of_day:
                times[day] = of_day
    return days, times


@lru_cache(20_000)
def of_order(kinds: bytes) -> tuple[Measures, list[int]]:
    """What is reached within one day and one window, where only the order of what was done matters:
    the measures; and the places in `kinds` at which the steps were first reached."""
    measures: set[int] = set()
    for kind in kinds:
        measures |= _BY_ITSELF.get(kind, _ANY)
    reached = _places(kinds, _FUNNEL)
    measures.update(STEP_MEASURES[: len(reached)])
    for stages, measure in _TO_CART:
        if len(_places(kinds, stages)) == 2:
            measures.add(measure)
    return frozenset(map(int, measures)), reached


def _places(kinds: bytes, stages: Mapping[int, int]) -> list[int]:
    """Where each stage was first reached."""
    places: list[int] = []
    for place, kind in enumerate(kinds):
        if stages.get(kind) == len(places):
            places.append(place)
    return places


def _attempts(
    events: Sequence[Event], stages: Mapping[int, int], window: int
) -> Iterator[tuple[int, list[int]]]:
    """For each day with a first stage: when attempts of that day first reached each stage."""
    # At the same moment a stage may follow the one before it: as kinds do in the events' order.
    ordered = [(at, stages[kind], day) for at, kind, day, *_ in events if kind in stages]
    starts = {day: at for at, stage, day in reversed(ordered) if stage == 0}
    for day, start in starts.items():
        first = bisect_left(ordered, (start, 0, day))
        yield day, _firsts(ordered, first, day, window, most=max(stages.values()) + 1)


def _firsts(
    ordered: list[tuple[int, int, int]], start: int, day: int, window: int, most: int
) -> list[int]:
    # For each stage, the latest beginning of an attempt that has come so far.
    begun: list[int | None] = [None] * len(STEPS)
    firsts: list[int] = []
    for place in range(start, len(ordered)):
        at, stage, event_day = ordered[place]
        latest = begun[0]
        if latest is not None and at - latest > window + _FOLD and event_day > day:
            break
        beginning = at if stage == 0 else begun[stage - 1]
        if beginning is None or at - beginning > window or (stage == 0 and event_day != day):
            continue
        reached = begun[stage]
        begun[stage] = beginning if reached is None else max(reached, beginning)
        if len(firsts) == stage:
            firsts.append(at)
            if len(firsts) == most:
                break
    return firsts
