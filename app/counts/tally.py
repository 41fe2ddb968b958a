"""Visitors added up. Those who did the same on the same day are counted together first, and what
that comes to in single numbers is worked out once for all of them."""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter

from app.counts.cells import Cells, Row, new_cells
from app.counts.measures import (
    ADDED_BY_TRIED,
    ALL,
    DECISIONS,
    NOT_SHOWN,
    STEP_MEASURES,
    Dimension,
    Event,
    Measure,
)
from app.counts.times import bucket_of, part, rounded
from app.counts.visitor import MOST_SHORT, Days, Measures, Times, days_and_times, of_order

# All that a breakdown shows.
_GROUP_MEASURES = frozenset(map(int, (Measure.VISITORS, *STEP_MEASURES)))
_DIMENSIONS = (Dimension.PRODUCT, Dimension.VERSION, Dimension.DEVICE, Dimension.LANGUAGE)
_VALUES_OF: list[Callable[[Event], int]] = [
    attrgetter(dimension.name.lower()) for dimension in _DIMENSIONS
]

_Same = tuple[int, ...]  # what short visits have in common: the day, and the four values
_Groups = dict[tuple[Dimension, int], Days]  # by dimension and value
_LARGE = 200_000  # numbers, of some 200 bytes each
EVER, _NEVER = -(2**31), 2**31 - 1  # days


class Tally:
    """Of several shops' visitors, as differences."""

    def __init__(self) -> None:
        self._events: Counter[tuple[int, int]] = Counter()  # shop, day
        self._visits: Counter[tuple[int, Measures, _Same]] = Counter()
        self._times: Counter[tuple[int, int, int, int]] = Counter()  # shop, day, step, seconds
        self._cells: Cells = new_cells()
        self._size = 0  # at most so many numbers are in the cells

    def is_large(self) -> bool:
        """Whether it is time to take the cells, before they fill the memory."""
        if self._size > _LARGE:
            self._size = sum(map(len, self._cells.values()))
        return self._size > _LARGE

    def add_events(self, shop_id: int, days: Iterable[int]) -> None:
        """What counts whoever did it."""
        for day, number in Counter(days).items():
            self._events[shop_id, day] += number

    def take_events(self, shop_id: int, days: Iterable[int]) -> None:
        for day, number in Counter(days).items():
            self._events[shop_id, day] -= number

    def add(
        self,
        shop_id: int,
        events: Sequence[Event],
        window: int,
        by: int = 1,
        *,
        since: int = EVER,
    ) -> None:
        """One visitor, in the order of time; not their events as such. `by` -1 takes them away.
        Nothing is added to days before `since`."""
        if since == EVER and self._add_visit(shop_id, events, window, by):
            return
        groups, times = _outcome(events, window, None)
        for (dimension, value), days in groups.items():
            self._add_days(shop_id, dimension, value, days, by, since)
        self._add_times(shop_id, times, by, since)

    def change(
        self,
        shop_id: int,
        old: Sequence[Event],
        everything: Sequence[Event],
        new: Sequence[Event],
        window: int,
    ) -> None:
        """One visitor who has done something new: the same as taking `old` away and adding
        `everything`, without the groups and the days before which nothing has changed."""
        if self._add_visit(shop_id, everything, window, 1):  # then the old was one as well
            self._add_visit(shop_id, old, window, -1)
            return
        changed = [set(map(value_of, new)) for value_of in _VALUES_OF]
        groups, times = _outcome(everything, window, changed)
        groups_before, times_before = _outcome(old, window, changed)
        for group, days in groups.items():
            days_before = groups_before.get(group, {})
            since = _first_difference(days_before, days)
            self._add_days(shop_id, *group, days_before, -1, since)
            self._add_days(shop_id, *group, days, 1, since)
        since = _first_difference(times_before, times)
        self._add_times(shop_id, times_before, -1, since)
        self._add_times(shop_id, times, 1, since)

    def _add_visit(self, shop_id: int, events: Sequence[Event], window: int, by: int) -> bool:
        """Most visitors come once, and all that differs is the day, the product and so on. False,
        and nothing done, where it was not one short visit."""
        if not events:
            return True
        if len(events) > MOST_SHORT or events[-1].at - events[0].at > window:
            return False
        same = events[0][2:]
        for event in events:
            if event[2:] != same or event[1] in NOT_SHOWN:
                return False
        measures, steps = of_order(tuple([event[1] for event in events]))
        self._visits[shop_id, measures, same] += by
        for step, before, place in steps:
            seconds = (events[place].at - events[before].at) // 1_000_000
            self._times[shop_id, same[0], step, seconds] += by
        return True

    def cells(self) -> Cells:
        """All that was added."""
        for (shop_id, day), number in self._events.items():
            self._cells[Row(shop_id, Dimension.EVENT, day, ALL)][ALL, Measure.EVENTS, 0] += number
        by_value: Counter[tuple[int, int, Measures, Dimension, int]] = Counter()
        for (shop_id, measures, (day, *values)), number in self._visits.items():
            by_value[shop_id, day, measures, Dimension.WHOLE, ALL] += number
            of_group = measures & _GROUP_MEASURES
            for dimension, value in zip(_DIMENSIONS, values, strict=True):
                by_value[shop_id, day, of_group, dimension, value] += number
        for (shop_id, day, measures, dimension, value), number in by_value.items():
            self._add_days(shop_id, dimension, value, {day: measures}, number, day)
        for (shop_id, day, step, seconds), number in self._times.items():
            self._add_times(shop_id, {day: {step: seconds}}, number, day)
        for one in (self._events, self._visits, self._times):
            one.clear()
        cells, self._cells = self._cells, new_cells()
        self._size = 0
        return cells

    def _add_days(
        self,
        shop_id: int,
        dimension: Dimension,
        value: int,
        days: Mapping[int, Measures],
        by: int,
        since: int,
    ) -> None:
        """Of the days `since` one; those before it only tell what came before."""
        is_product = dimension is Dimension.PRODUCT
        parts, place = ((value, ALL), ALL) if is_product else ((ALL,), value)
        before: dict[int, int] = {}
        for day, measures in days.items():
            if day >= since:
                for of_day in parts:
                    numbers = self._cells[Row(shop_id, dimension, day, of_day)]
                    self._size += 2 * len(measures)
                    for measure in measures:
                        if measure not in ADDED_BY_TRIED:
                            numbers[place, measure, day] += by
                            if measure in before:
                                numbers[place, measure, before[measure]] -= by
            before |= dict.fromkeys(measures, day)
            if not measures.isdisjoint(DECISIONS):
                before |= dict.fromkeys(DECISIONS, day)
        if dimension is Dimension.WHOLE:
            for day, measure, previous, sign in _added_by_tried(days):
                if day >= since:
                    numbers = self._cells[Row(shop_id, dimension, day, ALL)]
                    numbers[ALL, measure, previous] += sign * by

    def _add_times(self, shop_id: int, times: Times, by: int, since: int) -> None:
        """A day's time counts in the ranges in which it is the first day with that step: those
        which begin after the day before it with that step."""
        before: dict[int, int] = {}
        for day, of_steps in times.items():
            for step, seconds in of_steps.items():
                if day >= since:
                    bucket = bucket_of(seconds)
                    coarse = self._cells[Row(shop_id, Dimension.COARSE, day, ALL)]
                    fine = self._cells[Row(shop_id, Dimension.FINE, day, part(step, bucket))]
                    for numbers, place in ((coarse, (step, bucket)), (fine, (rounded(seconds), 0))):
                        numbers[*place, day] += by
                        if step in before:
                            numbers[*place, before[step]] -= by
                before[step] = day


def _added_by_tried(days: Mapping[int, Measures]) -> Iterator[tuple[int, int, int, int]]:
    """Day, measure, previous and number. A visitor counts where the first decided day in the range
    is one on which they tried, and that day or a later one has the measure: so a day with it counts
    in the ranges that begin up to such a day, and after the decided day before that."""
    waiting: dict[int, list[tuple[int | None, int]]] = {measure: [] for measure in ADDED_BY_TRIED}
    before: int | None = None
    for day, measures in days.items():
        if measures.isdisjoint(DECISIONS):
            continue
        for measure, ranges in waiting.items():
            if Measure.TRIED in measures:
                ranges.append((before, day))
            if measure in measures:
                for after, first in ranges:
                    yield day, measure, first, 1
                    if after is not None:
                        yield day, measure, after, -1
                ranges.clear()
        before = day


def _outcome(
    events: Sequence[Event], window: int, wanted: list[set[int]] | None
) -> tuple[_Groups, Times]:
    """What one visitor did, by dimension and value; of the groups only those of the `wanted` values
    of each dimension, if there are any."""
    events = [event for event in events if event.kind not in NOT_SHOWN]
    if not events:
        return {}, {}
    days, times = days_and_times(events, window)
    outcome: _Groups = {(Dimension.WHOLE, ALL): days}
    of_all = {day: measures & _GROUP_MEASURES for day, measures in days.items()}
    for number, dimension in enumerate(_DIMENSIONS):
        groups = _grouped(events, _VALUES_OF[number], wanted[number] if wanted else None)
        for value, group in groups.items():
            of_group = of_all
            if len(group) < len(events):
                group_days, _ = days_and_times(group, window)
                of_group = {day: m & _GROUP_MEASURES for day, m in group_days.items()}
            outcome[dimension, value] = of_group
    return outcome, times


def _first_difference(one: Mapping[int, object], other: Mapping[int, object]) -> int:
    """The first day on which they differ; both are in order."""
    for day, what in other.items():
        if one.get(day) != what:
            return day
    return _NEVER


def _grouped(
    events: Sequence[Event], value_of: Callable[[Event], int], wanted: Collection[int] | None
) -> dict[int, list[Event]]:
    groups: defaultdict[int, list[Event]] = defaultdict(list)
    for event in events:
        value = value_of(event)
        if wanted is None or value in wanted:
            groups[value].append(event)
    return groups
