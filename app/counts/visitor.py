"""What one visitor's events add to the counts. Pure functions.

**The funnel.** A visitor has reached a step where they did all steps up to it in their order, each
at or after the one before, the first of them on a day of the range, the last no later than `window`
after that first one (also where this is after the end of the range). Several attempts are allowed,
the best one counts.

The time to a step is from when they first had the step before it to when they first had this one,
by the attempts that began on the first day of the range on which they got there.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter

from app.counts.measures import (
    ALL,
    CART_ADD,
    GROUP_MEASURES,
    KINDS,
    SIDE_MEASURES,
    SIDE_STEPS,
    STEP_MEASURES,
    STEPS,
    Cells,
    Dimension,
    Event,
    Measure,
)
from app.counts.times import bucket_of, encode_bucket, encode_seconds, rounded

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

_KIND_AND_DAY: Callable[[Event], tuple[int, int]] = attrgetter("kind", "day")
_GROUPED_BY: dict[Dimension, Callable[[Event], int]] = {
    Dimension.PRODUCT: attrgetter("product"),
    Dimension.VERSION: attrgetter("version"),
    Dimension.DEVICE: attrgetter("device"),
    Dimension.LANGUAGE: attrgetter("language"),
}

_Days = dict[int, set[int]]  # a day's measures
_Times = dict[int, dict[int, int]]  # a day's steps (from 0), with seconds from the step before
_Change = tuple[int, int, int, int]  # measure, previous, day, by how much


def count(events: Sequence[Event], window: int) -> Cells:
    """The cells of one visitor. `events` in the order of time; `window` in microseconds."""
    cells = count_anonymous(events)
    days, times = _days(events, window)
    changes = list(_changes(days))
    _add(cells, Dimension.WHOLE, ALL, changes)
    _add(cells, Dimension.WHOLE, ALL, _time_changes(times))
    of_all = [change for change in changes if change[0] in GROUP_MEASURES]
    for dimension, value_of in _GROUPED_BY.items():
        for value, group in _grouped(events, value_of).items():
            of_group = of_all
            if len(group) < len(events):
                days, _ = _days(group, window)
                of_group = [c for c in _changes(days) if c[0] in GROUP_MEASURES]
            _add(cells, dimension, value, of_group)
            _add(cells, dimension, ALL, of_group)
    return cells


def count_anonymous(events: Iterable[Event]) -> Cells:
    """The cells of events that no visitor is known of: they count as events only."""
    return Counter(
        {
            (Dimension.EVENT, Measure.EVENTS, kind, day, day): number
            for (kind, day), number in Counter(map(_KIND_AND_DAY, events)).items()
        }
    )


def _grouped(events: Sequence[Event], value_of: Callable[[Event], int]) -> dict[int, list[Event]]:
    groups: defaultdict[int, list[Event]] = defaultdict(list)
    for event in events:
        groups[value_of(event)].append(event)
    return groups


def _days(events: Sequence[Event], window: int) -> tuple[_Days, _Times]:
    """By day in order: what was reached in attempts that began on it, and how fast."""
    days: defaultdict[int, set[int]] = defaultdict(set)
    times: _Times = {}
    kinds = set()
    for kind, day in set(map(_KIND_AND_DAY, events)):
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
    return dict(sorted(days.items())), dict(sorted(times.items()))


def _attempts(
    events: Sequence[Event], stages: Mapping[int, int], window: int
) -> Iterator[tuple[int, list[int]]]:
    """For each day with a first stage: when attempts of that day first reached each stage."""
    # At the same moment a stage may follow the one before it.
    ordered = sorted((e.at, stages[e.kind], e.day) for e in events if e.kind in stages)
    starts = {day: at for at, stage, day in reversed(ordered) if stage == 0}
    for day, start in starts.items():
        yield day, _firsts(ordered[bisect_left(ordered, (start, 0, day)) :], day, window)


def _firsts(ordered: list[tuple[int, int, int]], day: int, window: int) -> list[int]:
    # For each stage, the latest beginning of an attempt that has come so far.
    begun: list[int | None] = [None] * len(STEPS)
    firsts: list[int] = []
    for at, stage, event_day in ordered:
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
    return firsts


def _changes(days: _Days) -> Iterator[_Change]:
    before: dict[int, int] = {}
    for day, measures in days.items():
        for measure in measures:
            yield measure, day, day, 1
            if measure in before:
                yield measure, before[measure], day, -1
            before[measure] = day


def _time_changes(times: _Times) -> Iterator[_Change]:
    """A day's time counts in the ranges in which it is the first day with that step: those which
    begin after the day before it with that step."""
    before: dict[int, int] = {}
    for day, of_steps in times.items():
        for step, seconds in of_steps.items():
            for measure in (
                encode_bucket(step, bucket_of(seconds)),
                encode_seconds(step, rounded(seconds)),
            ):
                yield measure, day, day, 1
                if step in before:
                    yield measure, before[step], day, -1
            before[step] = day


def _add(cells: Cells, dimension: Dimension, value: int, changes: Iterable[_Change]) -> None:
    get = cells.get  # a Counter's own way to a missing cell is slower
    for measure, previous, day, number in changes:
        cell = (dimension, measure, value, previous, day)
        cells[cell] = get(cell, 0) + number
