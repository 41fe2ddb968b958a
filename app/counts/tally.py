"""Visitors added up. Those who did the same on the same day are counted together first, and what
that comes to in single numbers is worked out once for all of them."""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from operator import attrgetter
from struct import Struct
from typing import TypeVar

from app.counts.cells import Cells, Row, new_cells
from app.counts.journeys import KIND, SIZE, time_at, unpack
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
from app.counts.times import SPANS, bucket_of, part, rounded
from app.counts.visitor import MOST_SHORT, Days, Measures, Times, days_and_times, of_order, which

# All that a breakdown shows.
_GROUP_MEASURES = frozenset(map(int, (Measure.VISITORS, *STEP_MEASURES)))
_DIMENSIONS = (Dimension.PRODUCT, Dimension.VERSION, Dimension.DEVICE, Dimension.LANGUAGE)
_VALUES_OF: list[Callable[[Event], int]] = [
    attrgetter(dimension.name.lower()) for dimension in _DIMENSIONS
]

# What short visits have in common, as journeys pack it: the day, version, device and language; or
# the day and a product.
_Same = bytes
_DAY_AND_REST = Struct(">iiii")
_DAY_AND_PRODUCT = Struct(">ii")
_DAY_PART = slice(KIND + 1, KIND + 5)
_PRODUCT = slice(KIND + 5, KIND + 9)
_REST = slice(KIND + 9, SIZE)
_T = TypeVar("_T")
_Groups = dict[tuple[Dimension, int], Days]  # by dimension and value
_DAY = 24 * 60 * 60 * 1_000_000  # µs
_LARGE = 200_000  # numbers, of some 200 bytes each
_MANY = 50_000  # of what becomes numbers, the same
EVER, _NEVER = -(2**31), 2**31 - 1  # days


class Tally:
    """Of several shops' visitors, as differences."""

    def __init__(self) -> None:
        self._events: Counter[tuple[int, int]] = Counter()  # shop, day
        self._visits: Counter[tuple[int, Measures, _Same]] = Counter()
        self._products: Counter[tuple[int, Measures, _Same]] = Counter()  # of them
        # Shop, dimension, value, day, previous day.
        self._days: Counter[tuple[int, Dimension, int, int, int, Measures]] = Counter()
        # Shop, day, previous day, step or span, seconds.
        self._times: Counter[tuple[int, int, int, int, int]] = Counter()
        self._cells: Cells = new_cells()
        self._size = 0  # so many numbers are in the cells

    def is_large(self) -> bool:
        """Whether it is time to take the cells, before they fill the memory."""
        short = len(self._visits) + len(self._products)
        if short + len(self._days) + len(self._times) > _MANY:
            self._fold()
        return self._size > _LARGE

    def add_events(self, shop_id: int, numbers: Mapping[int, int], by: int = 1) -> None:
        """What counts whoever did it: how many on each day. `by` -1 takes them away."""
        for day, number in numbers.items():
            self._events[shop_id, day] += by * number

    def add(
        self, shop_id: int, journey: bytes, window: int, by: int = 1, *, since: int = EVER
    ) -> None:
        """One visitor, not their events as such. `by` -1 takes them away. Nothing is added to days
        before `since`."""
        is_all = since == EVER or _day(journey[_DAY_PART]) >= since
        if not is_all or not self._add_visit(shop_id, journey, window, by):
            groups, times = _outcome(unpack(journey), window, None)
            for (dimension, value), days in groups.items():
                self._add_days(shop_id, dimension, value, days, by, since)
            self._add_times(shop_id, times, by, since)

    def change(
        self, shop_id: int, old: bytes, everything: bytes, new: Sequence[bytes], window: int
    ) -> None:
        """One visitor who has done something new, each event packed: the same as taking `old` away
        and adding `everything`, without the groups and the days before which nothing has changed.
        """
        if self._add_visit(shop_id, everything, window, 1, old):
            return
        events = unpack(b"".join(new))
        changed = [set(map(value_of, events)) for value_of in _VALUES_OF]
        groups, times = _outcome(unpack(everything), window, changed)
        # What began on the days before it has had its window, also where a date came twice.
        touched = min(event.day for event in events) - window // _DAY - 2
        groups_before, times_before = _outcome(_from_day(unpack(old), touched), window, changed)
        for group, days in groups.items():
            days_before = _with_days(days, groups_before.get(group, {}), touched)
            since = _first_difference(days_before, days)
            self._add_days(shop_id, *group, days_before, -1, since)
            self._add_days(shop_id, *group, days, 1, since)
        times_before = _with_days(times, times_before, touched)
        since = _first_difference(times_before, times)
        self._add_times(shop_id, times_before, -1, since)
        self._add_times(shop_id, times, 1, since)

    def _add_visit(
        self, shop_id: int, journey: bytes, window: int, by: int, counted: bytes = b""
    ) -> bool:
        """Most visitors come once, and all that differs is the day, the product and so on. False,
        and nothing done, where it was not one short visit. `counted` is what of the journey was
        counted before: it leaves."""
        if journey:
            if not _is_short_visit(journey, window):
                return False
            self._add_short_visit(shop_id, journey, by)
            if counted:
                self._add_short_visit(shop_id, counted, -by)
        return True

    def _add_short_visit(self, shop_id: int, journey: bytes, by: int) -> None:
        kinds, day = journey[KIND::SIZE], journey[_DAY_PART]
        products = [journey[at : at + 4] for at in range(_PRODUCT.start, len(journey), SIZE)]
        different = set(products)
        measures, steps = of_order(kinds, which(kinds, products) if len(different) > 1 else b"")
        self._visits[shop_id, measures, day + journey[_REST]] += by
        for step, before, place in steps:
            seconds = (time_at(journey, place) - time_at(journey, before)) // 1_000_000
            self._times[shop_id, _day(day), _day(day), step, seconds] += by
        for product in different:
            if len(different) > 1:
                of_product = zip(kinds, products, strict=True)
                measures, _ = of_order(bytes([kind for kind, its in of_product if its == product]))
            self._products[shop_id, measures, day + product] += by

    def cells(self) -> Cells:
        """All that was added."""
        self._fold()
        cells, self._cells = self._cells, new_cells()
        self._size = 0
        return cells

    def _fold(self) -> None:
        """What was added up becomes numbers in cells."""
        for (shop_id, measures, same), number in self._visits.items():
            day, *values = _DAY_AND_REST.unpack(same)
            self._days[shop_id, Dimension.WHOLE, ALL, day, day, measures] += number
            of_group = measures & _GROUP_MEASURES
            for dimension, value in zip(_DIMENSIONS[1:], values, strict=True):
                self._days[shop_id, dimension, value, day, day, of_group] += number
        for (shop_id, measures, same), number in self._products.items():
            day, product = _DAY_AND_PRODUCT.unpack(same)
            of_group = measures & _GROUP_MEASURES
            self._days[shop_id, Dimension.PRODUCT, product, day, day, of_group] += number
        cells = self._cells
        for (shop_id, day), number in self._events.items():
            cells[Row(shop_id, Dimension.EVENT, day, ALL)][ALL, Measure.EVENTS, 0] += number
        for (shop_id, dimension, value, day, previous, measures), number in self._days.items():
            is_product = dimension is Dimension.PRODUCT
            parts, place = ((value, ALL), ALL) if is_product else ((ALL,), value)
            for of_day in parts if number else ():
                numbers = cells[Row(shop_id, dimension, day, of_day)]
                for measure in measures:
                    numbers[place, measure, previous] += number
        for (shop_id, day, previous, step, seconds), number in self._times.items():
            bucket = bucket_of(step, seconds)
            scale = Dimension.SPAN if step in SPANS else Dimension.COARSE
            coarse = cells[Row(shop_id, scale, day, ALL)]
            fine = cells[Row(shop_id, Dimension.FINE, day, part(step, bucket))]
            coarse[step, bucket, previous] += number
            fine[rounded(seconds), 0, previous] += number
        for one in (self._events, self._visits, self._products, self._days, self._times):
            one.clear()
        self._size = sum(map(len, cells.values()))

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
        before: list[tuple[int, Measures]] = []  # the latest first
        for day, measures in days.items():
            if day >= since:
                left = measures.difference(ADDED_BY_TRIED)
                self._days[shop_id, dimension, value, day, day, left] += by
                for previous, earlier in before:
                    if again := left & earlier:
                        self._days[shop_id, dimension, value, day, previous, again] -= by
                        left -= again
                        if not left:
                            break
            is_decided = not measures.isdisjoint(DECISIONS)
            before.insert(0, (day, measures | DECISIONS if is_decided else measures))
        if dimension is Dimension.WHOLE:
            for day, measure, previous, sign in _added_by_tried(days):
                if day >= since:
                    added = frozenset((int(measure),))
                    self._days[shop_id, dimension, value, day, previous, added] += sign * by

    def _add_times(self, shop_id: int, times: Times, by: int, since: int) -> None:
        """A day's time counts in the ranges in which it is the first day with that step: those
        which begin after the day before it with that step."""
        before: dict[int, int] = {}
        for day, of_steps in times.items():
            for step, seconds in of_steps.items():
                if day >= since:
                    self._times[shop_id, day, day, step, seconds] += by
                    if step in before:
                        self._times[shop_id, day, before[step], step, seconds] -= by
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


def _is_short_visit(journey: bytes, window: int) -> bool:
    """Of one day, one window, and one version, device and language."""
    length = len(journey)
    if length > MOST_SHORT * SIZE:
        return False
    day, rest = journey[_DAY_PART], journey[_REST]
    for begin in range(SIZE, length, SIZE):
        event = journey[begin : begin + SIZE]
        if event[_DAY_PART] != day or event[_REST] != rest:
            return False
    last = length // SIZE - 1
    is_within = time_at(journey, last) - time_at(journey, 0) <= window
    return is_within and NOT_SHOWN.isdisjoint(journey[KIND::SIZE])


def _day(packed: bytes) -> int:
    return int.from_bytes(packed, signed=True)


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
        value_of = _VALUES_OF[number]
        values = set(map(value_of, events))
        if len(values) == 1:
            if wanted is None or values <= wanted[number]:
                outcome[dimension, values.pop()] = of_all
            continue
        groups = _grouped(events, value_of, wanted[number] if wanted else None)
        for value, group in groups.items():
            group_days, _ = days_and_times(group, window)
            outcome[dimension, value] = {day: m & _GROUP_MEASURES for day, m in group_days.items()}
    return outcome, times


def _from_day(events: Sequence[Event], day: int) -> Sequence[Event]:
    """From the first event on such a day or a later one."""
    first = next((place for place, event in enumerate(events) if event.day >= day), len(events))
    return events[first:]


def _with_days(before: Mapping[int, _T], since: Mapping[int, _T], day: int) -> dict[int, _T]:
    """The days before one as in `before`, the others as in `since`."""
    days = {number: what for number, what in before.items() if number < day}
    return days | {number: what for number, what in since.items() if number >= day}


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
