"""Visitors added up. Those who did the same on the same day are counted together first, and what
that comes to in single numbers is worked out once for all of them."""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from operator import attrgetter

from app.counts.cells import Cells, Row, new_cells
from app.counts.measures import ALL, LATE, STEP_MEASURES, Dimension, Event, Measure
from app.counts.times import bucket_of, part, rounded
from app.counts.visitor import Measures, Times, days_and_times

_GROUP_MEASURES = frozenset({Measure.VISITORS, *STEP_MEASURES})  # all that a breakdown shows
_DIMENSIONS = (Dimension.PRODUCT, Dimension.VERSION, Dimension.DEVICE, Dimension.LANGUAGE)
_VALUES_OF: list[Callable[[Event], int]] = [
    attrgetter(dimension.name.lower()) for dimension in _DIMENSIONS
]
_ids_of = attrgetter("product", "version", "device", "language")

_Ids = tuple[int, int, int, int]


class Tally:
    """Of several shops' visitors, as differences."""

    def __init__(self) -> None:
        self._events: Counter[tuple[int, int]] = Counter()  # shop, day
        self._whole: Counter[tuple[int, int, Measures]] = Counter()
        self._grouped: Counter[tuple[int, int, Measures, _Ids]] = Counter()
        self._times: Counter[tuple[int, int, int, int]] = Counter()  # shop, day, step, seconds
        self._cells: Cells = new_cells()

    def add_events(self, shop_id: int, days: Iterable[int]) -> None:
        """What counts whoever did it."""
        self._events.update((shop_id, day) for day in days)

    def take_events(self, shop_id: int, days: Iterable[int]) -> None:
        self._events.subtract((shop_id, day) for day in days)

    def add(self, shop_id: int, events: Sequence[Event], window: int, by: int = 1) -> None:
        """One visitor, in the order of time; not their events as such. `by` -1 takes them away."""
        self._add(shop_id, events, window, by, None)

    def change(
        self,
        shop_id: int,
        old: Sequence[Event],
        everything: Sequence[Event],
        new: Sequence[Event],
        window: int,
    ) -> None:
        """One visitor who has done something new: the same as taking `old` away and adding
        `everything`, without the groups in which nothing has changed."""
        changed = [set(map(value_of, new)) for value_of in _VALUES_OF]
        for events, by in ((old, -1), (everything, 1)):
            self._add(shop_id, events, window, by, changed)

    def _add(
        self,
        shop_id: int,
        events: Sequence[Event],
        window: int,
        by: int,
        wanted: list[set[int]] | None,
    ) -> None:
        """Of groups, only those of the `wanted` values of each dimension, if there are any."""
        events = [event for event in events if event.kind != LATE]
        if not events:
            return
        days, times = days_and_times(events, window)
        ids = {_ids_of(event) for event in events}
        if len(ids) == 1 and len(days) == 1:
            [(day, measures)] = days.items()
            [values] = ids
            if wanted is None or all(map(set.__contains__, wanted, values)):
                self._whole[shop_id, day, measures] += by
                self._grouped[shop_id, day, measures, values] += by
                for step, seconds in times.get(day, {}).items():
                    self._times[shop_id, day, step, seconds] += by
                return
        self._add_days(shop_id, Dimension.WHOLE, (ALL,), ALL, days, by)
        self._add_times(shop_id, times, by)
        of_all = {day: measures & _GROUP_MEASURES for day, measures in days.items()}
        for number, dimension in enumerate(_DIMENSIONS):
            groups = _grouped(events, _VALUES_OF[number], wanted[number] if wanted else None)
            for value, group in groups.items():
                of_group = of_all
                if len(group) < len(events):
                    group_days, _ = days_and_times(group, window)
                    of_group = {day: m & _GROUP_MEASURES for day, m in group_days.items()}
                parts, place = _place(dimension, value)
                self._add_days(shop_id, dimension, parts, place, of_group, by)

    def cells(self) -> Cells:
        """All that was added."""
        for (shop_id, day), number in self._events.items():
            self._cells[Row(shop_id, Dimension.EVENT, day, ALL)][ALL, Measure.EVENTS, 0] += number
        for (shop_id, day, measures), number in self._whole.items():
            self._add_days(shop_id, Dimension.WHOLE, (ALL,), ALL, {day: measures}, number)
        by_value: Counter[tuple[int, int, Measures, Dimension, int]] = Counter()
        for (shop_id, day, measures, ids), number in self._grouped.items():
            of_group = measures & _GROUP_MEASURES
            for dimension, value in zip(_DIMENSIONS, ids, strict=True):
                by_value[shop_id, day, of_group, dimension, value] += number
        for (shop_id, day, measures, dimension, value), number in by_value.items():
            parts, place = _place(dimension, value)
            self._add_days(shop_id, dimension, parts, place, {day: measures}, number)
        for (shop_id, day, step, seconds), number in self._times.items():
            self._add_times(shop_id, {day: {step: seconds}}, number)
        for one in (self._events, self._whole, self._grouped, self._times):
            one.clear()
        cells, self._cells = self._cells, new_cells()
        return cells

    def _add_days(
        self,
        shop_id: int,
        dimension: Dimension,
        parts: Collection[int],
        value: int,
        days: Mapping[int, Iterable[int]],
        by: int,
    ) -> None:
        before: dict[int, int] = {}
        for day, measures in days.items():
            for of_day in parts:
                numbers = self._cells[Row(shop_id, dimension, day, of_day)]
                for measure in measures:
                    numbers[value, measure, day] += by
                    if measure in before:
                        numbers[value, measure, before[measure]] -= by
            before |= dict.fromkeys(measures, day)

    def _add_times(self, shop_id: int, times: Times, by: int) -> None:
        """A day's time counts in the ranges in which it is the first day with that step: those
        which begin after the day before it with that step."""
        before: dict[int, int] = {}
        for day, of_steps in times.items():
            for step, seconds in of_steps.items():
                bucket = bucket_of(seconds)
                coarse = self._cells[Row(shop_id, Dimension.COARSE, day, ALL)]
                fine = self._cells[Row(shop_id, Dimension.FINE, day, part(step, bucket))]
                for numbers, value, measure in (
                    (coarse, step, bucket),
                    (fine, rounded(seconds), 0),
                ):
                    numbers[value, measure, day] += by
                    if step in before:
                        numbers[value, measure, before[step]] -= by
                before[step] = day


def _place(dimension: Dimension, value: int) -> tuple[tuple[int, ...], int]:
    """The parts of the day that a value is counted in, and under which value there."""
    return ((value, ALL), ALL) if dimension is Dimension.PRODUCT else ((ALL,), value)


def _grouped(
    events: Sequence[Event], value_of: Callable[[Event], int], wanted: Collection[int] | None
) -> dict[int, list[Event]]:
    groups: defaultdict[int, list[Event]] = defaultdict(list)
    for event in events:
        value = value_of(event)
        if wanted is None or value in wanted:
            groups[value].append(event)
    return groups
