"""What one visitor did: in all, and with each product, version, device and language."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import TypeVar

from app.counts.calendar import DAY
from app.counts.journeys import KIND, SIZE, unpack
from app.counts.measures import ALL, GROUPS, NOT_SHOWN, OF_GROUPS, Dimension, Event
from app.counts.visitor import Days, Measures, Times, days_and_times

GROUP_MEASURES = frozenset(map(int, OF_GROUPS))
_NAMES = [dimension.name.lower() for dimension in GROUPS]
VALUES_OF: list[Callable[[Event], int]] = [attrgetter(name) for name in _NAMES]
DAY_AND_VALUES: Callable[[Event], tuple[int, ...]] = attrgetter("day", *_NAMES)
Group = tuple[Dimension, int]  # and the value in it
Outcome = list[tuple[list[Group], Days, Times]]  # groups of which the same is to be counted
_T = TypeVar("_T")
# By day before and now, and the first day that has changed.
Change = tuple[Mapping[int, _T], Mapping[int, _T], int]
WHOLE: Group = (Dimension.WHOLE, ALL)


def shown(journey: bytes) -> list[Event]:
    events = unpack(journey)
    if NOT_SHOWN.isdisjoint(journey[KIND::SIZE]):
        return events
    return [event for event in events if event.kind not in NOT_SHOWN]


def outcome(events: Sequence[Event], window: int, wanted: list[set[int]] | None) -> Outcome:
    """What one visitor did, all and by group; of the groups only those of the `wanted` values of
    each dimension, if there are any."""
    if not events:
        return []
    days, times = days_and_times(events, window)
    found: Outcome = [([WHOLE], days, times)]
    of_all: list[Group] = []
    for number, dimension in enumerate(GROUPS):
        value_of = VALUES_OF[number]
        values = set(map(value_of, events))
        if len(values) == 1:
            if wanted is None or values <= wanted[number]:
                of_all.append((dimension, values.pop()))
            continue
        groups = _grouped(events, value_of, wanted[number] if wanted else None)
        for value, group in groups.items():
            of_value, times_of_value = days_and_times(group, window)
            found.append(([(dimension, value)], _of_group(of_value), times_of_value))
    if of_all:
        found.append((of_all, _of_group(days), times))
    return found


def changes(
    old: bytes, everything: bytes, new: Sequence[Event], window: int
) -> Iterator[tuple[list[Group], Change[Measures], Change[dict[int, int]]]]:
    """By groups what is different, days and times, since `old` has grown to `everything` by these
    events. What has not changed may be left out."""
    wanted = [set(map(value_of, new)) for value_of in VALUES_OF]
    # What began on the days before it has had its window, also where a date came twice.
    touched = min(event.day for event in new) - window // DAY - 2
    events = shown(everything)
    kinds = old[KIND::SIZE].translate(None, bytes(NOT_SHOWN))
    before = events[: len(kinds)] if everything.startswith(old) else shown(old)
    of_before = {
        group: (days, times)
        for groups, days, times in outcome(_from_day(before, touched), window, wanted)
        for group in groups
    }
    for groups, days, times in outcome(events, window, wanted):
        # Groups that are alike now were so before: each has had one value all the time.
        days_before, times_before = of_before.get(groups[0], ({}, {}))
        yield groups, _change(days_before, days, touched), _change(times_before, times, touched)


def _change(before: Mapping[int, _T], now: Mapping[int, _T], touched: int) -> Change[_T]:
    """Of days in order, none before a `touched` one has changed."""
    for since, what in now.items():
        if since >= touched and before.get(since) != what:
            days = {day: earlier for day, earlier in now.items() if day < touched}
            days |= {day: earlier for day, earlier in before.items() if day >= touched}
            return days, now, since
    return {}, {}, touched


def _from_day(events: Sequence[Event], day: int) -> Sequence[Event]:
    """From the first event on such a day or a later one."""
    first = next((place for place, event in enumerate(events) if event.day >= day), len(events))
    return events[first:]


def _of_group(days: Days) -> Days:
    return {day: measures & GROUP_MEASURES for day, measures in days.items()}


def _grouped(
    events: Sequence[Event], value_of: Callable[[Event], int], wanted: Collection[int] | None
) -> dict[int, list[Event]]:
    groups: defaultdict[int, list[Event]] = defaultdict(list)
    for event in events:
        value = value_of(event)
        if wanted is None or value in wanted:
            groups[value].append(event)
    return groups
