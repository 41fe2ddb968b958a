"""What one visitor did: in all, and with each product, version, device and language."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from operator import attrgetter

from app.counts.measures import ALL, GROUPS, NOT_SHOWN, OF_GROUPS, Dimension, Event
from app.counts.visitor import Days, Times, days_and_times

GROUP_MEASURES = frozenset(map(int, OF_GROUPS))
VALUES_OF: list[Callable[[Event], int]] = [
    attrgetter(dimension.name.lower()) for dimension in GROUPS
]
Group = tuple[Dimension, int]  # and the value in it
Outcome = list[tuple[list[Group], Days, Times]]  # groups of which the same is to be counted
WHOLE: Group = (Dimension.WHOLE, ALL)


def shown(events: Iterable[Event]) -> list[Event]:
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
