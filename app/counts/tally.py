"""Visitors added up. Those who did the same on the same day are counted together first, and what
that comes to in single numbers is worked out once for all of them."""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from struct import Struct

from app.counts.cells import Cells, Numbers, Row, new_cells
from app.counts.journeys import KIND, SIZE, time_at
from app.counts.measures import (
    ADDED_BY_TRIED,
    ALL,
    DECISIONS,
    GROUPS,
    LIKE,
    NOT_SHOWN,
    Dimension,
    Event,
    Measure,
)
from app.counts.outcome import (
    DAY_AND_VALUES,
    GROUP_MEASURES,
    WHOLE,
    Group,
    changes,
    outcome,
    shown,
)
from app.counts.times import SPANS, bucket_of, code_of, part, rounded
from app.counts.visitor import MOST_SHORT, Measures, of_order, which

# What short visits have in common, as journeys pack it: the day, version, device and language; or
# the day and a product.
_Same = bytes
_DAY_AND_REST = Struct(">iiii")
_DAY_AND_PRODUCT = Struct(">ii")
_DAY_PART = slice(KIND + 1, KIND + 5)
_PRODUCT = slice(KIND + 5, KIND + 9)
_REST = slice(KIND + 9, SIZE)
_Places = tuple[int, list[tuple[Numbers, int]]]
_EVENTS = int(Measure.EVENTS)
_LARGE = 200_000  # numbers, of some 200 bytes each
_MANY = 50_000  # of what becomes numbers, the same
EVER = -(2**31)  # a day


class Tally:
    """Of several shops' visitors, as differences."""

    def __init__(self) -> None:
        self._events: defaultdict[tuple[int, int], int] = defaultdict(int)  # shop, day
        self._visits: defaultdict[tuple[int, Measures, _Same], int] = defaultdict(int)
        self._products: defaultdict[tuple[int, Measures, _Same], int] = defaultdict(int)  # of them
        # Of both, which differ in length: step or span, seconds; and how many events.
        self._visit_times: defaultdict[tuple[int, _Same, int, int], int] = defaultdict(int)
        self._visit_events: defaultdict[tuple[int, _Same], int] = defaultdict(int)
        # Shop, dimension, value, day, previous day.
        self._days: defaultdict[tuple[int, Dimension, int, int, int, Measures], int] = defaultdict(
            int
        )
        # Shop, dimension, value, day, previous day, step or span, seconds.
        self._times: defaultdict[tuple[int, Dimension, int, int, int, int, int], int] = defaultdict(
            int
        )
        self._group_events: defaultdict[tuple[int, Dimension, int, int], int] = defaultdict(
            int
        )  # the same, to day
        self._cells: Cells = new_cells()
        self._size = 0  # so many numbers are in the cells

    def is_large(self) -> bool:
        """Whether it is time to take the cells, before they fill the memory."""
        short = len(self._visits) + len(self._products) + len(self._visit_times)
        if short + len(self._days) + len(self._times) + len(self._group_events) > _MANY:
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
            events = shown(journey)
            for groups, days, times in outcome(events, window, None):
                self._add_days(shop_id, groups, days, by, since)
                self._add_times(shop_id, groups, times, by, since)
            self._add_group_events(shop_id, events, by, since)

    def change(
        self, shop_id: int, old: bytes, everything: bytes, new: Sequence[bytes], window: int
    ) -> None:
        """One visitor who has done something new, each event packed: the same as taking `old` away
        and adding `everything`, without the groups and the days before which nothing has changed.
        """
        if self._add_visit(shop_id, everything, window, 1, old):
            return
        if not (new_events := shown(b"".join(new))):
            return
        for groups, days, times in changes(old, everything, new_events, window):
            before, now, since = days
            self._add_days(shop_id, groups, before, -1, since)
            self._add_days(shop_id, groups, now, 1, since)
            times_before, times_now, since = times
            self._add_times(shop_id, groups, times_before, -1, since)
            self._add_times(shop_id, groups, times_now, 1, since)
        self._add_group_events(shop_id, new_events, 1, EVER)

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
        visit = day + journey[_REST]
        self._visits[shop_id, measures, visit] += by
        self._visit_events[shop_id, visit] += by * len(products)
        times = _seconds(journey, steps)
        for step, seconds in times:
            self._visit_times[shop_id, visit, step, seconds] += by
        for product in different:
            number = len(products)
            if len(different) > 1:
                places = [place for place, its in enumerate(products) if its == product]
                number = len(places)
                measures, steps = of_order(bytes([kinds[place] for place in places]))
                times = _seconds(
                    journey, [(step, places[one], places[other]) for step, one, other in steps]
                )
            of_product = day + product
            self._products[shop_id, measures, of_product] += by
            self._visit_events[shop_id, of_product] += by * number
            for step, seconds in times:
                self._visit_times[shop_id, of_product, step, seconds] += by

    def cells(self) -> Cells:
        """All that was added."""
        self._fold()
        cells, self._cells = self._cells, new_cells()
        self._size = 0
        return cells

    def _fold(self) -> None:
        """What was added up becomes numbers in cells."""
        cells = self._cells
        places: dict[tuple[int, _Same], _Places] = {}  # of short visits

        def of_visit(shop_id: int, same: _Same) -> _Places:
            found = places.get((shop_id, same))
            if found is None:
                found = places[shop_id, same] = _places(cells, shop_id, same)
            return found

        for (shop_id, measures, same), number in self._visits.items():
            day, *values = _DAY_AND_REST.unpack(same)
            self._days[shop_id, *WHOLE, day, day, measures] += number
            of_group = measures & GROUP_MEASURES
            for dimension, value in zip(GROUPS[1:], values, strict=True):
                self._days[shop_id, dimension, value, day, day, of_group] += number
        for (shop_id, measures, same), number in self._products.items():
            day, [(numbers, place)] = of_visit(shop_id, same)
            for measure, sign in _stored(measures & GROUP_MEASURES, False):
                numbers[place, measure, day] += sign * number
        for (shop_id, same), number in self._visit_events.items():
            day, groups = of_visit(shop_id, same)
            for numbers, place in groups:
                numbers[place, _EVENTS, day] += number
        for (shop_id, same, step, seconds), number in self._visit_times.items():
            day, groups = of_visit(shop_id, same)
            if len(same) == _DAY_AND_REST.size:
                _add_time(cells, shop_id, day, day, step, seconds, number)
            code = code_of(step, seconds)
            for numbers, place in groups:
                numbers[place, code, day] += number
        for (shop_id, day), number in self._events.items():
            cells[Row(shop_id, Dimension.EVENT, day, ALL)][ALL, Measure.EVENTS, 0] += number
        for (shop_id, dimension, value, day), number in self._group_events.items():
            numbers, place = _in(cells, shop_id, dimension, value, day)
            numbers[place, _EVENTS, day] += number
        for (shop_id, dimension, value, day, previous, measures), number in self._days.items():
            if number:
                numbers, place = _in(cells, shop_id, dimension, value, day)
                for measure, sign in _stored(measures, dimension is Dimension.WHOLE):
                    numbers[place, measure, previous] += sign * number
        for (shop_id, dimension, value, day, previous, step, seconds), n in self._times.items():
            if dimension is Dimension.WHOLE:
                _add_time(cells, shop_id, day, previous, step, seconds, n)
            elif n:
                numbers, place = _in(cells, shop_id, dimension, value, day)
                numbers[place, code_of(step, seconds), previous] += n
        for one in (
            self._events,
            self._visits,
            self._products,
            self._visit_times,
            self._visit_events,
            self._days,
            self._times,
            self._group_events,
        ):
            one.clear()
        self._size = sum(map(len, cells.values()))

    def _add_days(
        self,
        shop_id: int,
        groups: Collection[Group],
        days: Mapping[int, Measures],
        by: int,
        since: int,
    ) -> None:
        """Of the days `since` one; those before it only tell what came before."""
        ordered = list(days.items())
        for place in range(bisect_left(list(days), since), len(ordered)):
            day, measures = ordered[place]
            left = measures.difference(ADDED_BY_TRIED)
            for group in groups:
                self._days[shop_id, *group, day, day, left] += by
            for previous, earlier in reversed(ordered[:place]):
                if again := left & _with_decisions(earlier):
                    for group in groups:
                        self._days[shop_id, *group, day, previous, again] -= by
                    left -= again
                    if not left:
                        break
        for day, measure, previous, sign in _added_by_tried(days):
            if day >= since:
                added = frozenset((int(measure),))
                for group in groups:
                    self._days[shop_id, *group, day, previous, added] += sign * by

    def _add_times(
        self,
        shop_id: int,
        groups: Collection[Group],
        times: Mapping[int, Mapping[int, int]],
        by: int,
        since: int,
    ) -> None:
        """A day's time counts in the ranges in which it is the first day with that step: those
        which begin after the day before it with that step."""
        before: dict[int, int] = {}
        for day, of_steps in times.items():
            for step, seconds in of_steps.items():
                for group in groups if day >= since else ():
                    self._times[shop_id, *group, day, day, step, seconds] += by
                    if step in before:
                        self._times[shop_id, *group, day, before[step], step, seconds] -= by
                before[step] = day

    def _add_group_events(self, shop_id: int, events: Iterable[Event], by: int, since: int) -> None:
        for (day, *values), number in Counter(map(DAY_AND_VALUES, events)).items():
            if day >= since:
                for dimension, value in zip(GROUPS, values, strict=True):
                    self._group_events[shop_id, dimension, value, day] += by * number


def _places(cells: Cells, shop_id: int, same: _Same) -> _Places:
    """The day of short visits that have this in common, and where they count."""
    if len(same) == _DAY_AND_PRODUCT.size:
        day, product = _DAY_AND_PRODUCT.unpack(same)
        return day, [_in(cells, shop_id, Dimension.PRODUCT, product, day)]
    day, *values = _DAY_AND_REST.unpack(same)
    return day, [
        _in(cells, shop_id, dimension, value, day)
        for dimension, value in zip(GROUPS[1:], values, strict=True)
    ]


def _add_time(
    cells: Cells, shop_id: int, day: int, previous: int, step: int, seconds: int, number: int
) -> None:
    """Of all, on both scales."""
    bucket = bucket_of(step, seconds)
    scale = Dimension.SPAN if step in SPANS else Dimension.COARSE
    cells[Row(shop_id, scale, day, ALL)][step, bucket, previous] += number
    fine = cells[Row(shop_id, Dimension.FINE, day, part(step, bucket))]
    fine[rounded(seconds), 0, previous] += number


@lru_cache(20_000)
def _stored(measures: Measures, is_whole: bool) -> list[tuple[int, int]]:
    """Measures, and what each is for one visitor."""
    if is_whole:
        return [(measure, 1) for measure in measures]
    return [(measure, 1) for measure in measures if measure not in LIKE] + [
        (int(measure), (measure in measures) - (base in measures))
        for measure, base in LIKE.items()
        if (measure in measures) != (base in measures)
    ]


def _in(
    cells: Cells, shop_id: int, dimension: Dimension, value: int, day: int
) -> tuple[Numbers, int]:
    """The row of a group's day, and what stands for the value in it."""
    if dimension is Dimension.PRODUCT:
        return cells[Row(shop_id, dimension, day, value)], ALL
    return cells[Row(shop_id, dimension, day, ALL)], value


def _seconds(journey: bytes, steps: Iterable[tuple[int, int, int]]) -> list[tuple[int, int]]:
    """Steps, with the time from the event at one place to that at another."""
    return [
        (step, (time_at(journey, place) - time_at(journey, before)) // 1_000_000)
        for step, before, place in steps
    ]


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


def _with_decisions(measures: Measures) -> Measures:
    """As a later day sees them: whichever decision the earlier day brought, it was the first."""
    return measures if measures.isdisjoint(DECISIONS) else measures | DECISIONS


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
