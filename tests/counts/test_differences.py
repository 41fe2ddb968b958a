"""A visitor's differences, added up over the days of any range, are what the visitor did in it."""

from collections import Counter
from itertools import combinations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.counts.journeys import pack
from app.counts.measures import CART_ADD, GROUPS, KINDS, LIKE, STEPS, Dimension, Event, Measure
from app.counts.outcome import GROUP_MEASURES, VALUES_OF
from app.counts.tally import Tally
from app.counts.times import bucket_of, part, rounded
from app.counts.visitor import days_and_times, in_range

DAY = 24 * 60 * 60 * 1_000_000
WINDOW = DAY
PAGE, BUTTON, *_, RESULT, _, ADDED = (KINDS[name] for name in STEPS)
CART = KINDS[CART_ADD]


def event(hours, kind, product=1, version=1):
    day, hour = divmod(hours, 24)
    return Event(day * DAY + hour * DAY // 24, kind, day, product, version, 3, 4)


histories = st.lists(
    st.builds(
        event,
        st.integers(0, 5 * 24),
        st.sampled_from([PAGE, RESULT, ADDED, CART, *KINDS.values()]),
        st.integers(1, 2),
        st.integers(1, 2),
    ),
    min_size=1,
    max_size=16,
)
# Decides by a result, and adds what they tried on a later day that has a result too.
TRIES_AND_ADDS_LATER = [event(1, RESULT), event(30, PAGE), event(80, RESULT), event(81, CART)]
ADDS_AND_TRIES_LATER = [event(1, PAGE), event(2, CART), event(60, RESULT), event(61, ADDED)]
TRIES_ANOTHER = [event(1, RESULT), event(50, RESULT, 2), event(51, CART), event(90, RESULT)]
NEVER_DECIDES = [event(1, PAGE), event(25, BUTTON), event(60, PAGE)]


def of_all(tally):
    """By measure, of the whole: how much on a day for ranges that begin after another one."""
    numbers = Counter()
    for row, cells in tally.cells().items():
        if row[1] is Dimension.WHOLE:
            for (_, measure, previous), number in cells.items():
                numbers[measure, row[2], previous] += number
    return numbers


def in_days(numbers, measure, first, end):
    return sum(
        number
        for (of, day, previous), number in numbers.items()
        if of == measure and first <= day < end and previous >= first
    )


@settings(max_examples=150, deadline=None)
@given(histories)
@example(TRIES_AND_ADDS_LATER)
@example(ADDS_AND_TRIES_LATER)
@example(TRIES_ANOTHER)
@example(NEVER_DECIDES)
def test_in_each_range_a_visitor_counts_once_in_what_they_did_there(events):
    events = sorted(events)
    tally = Tally()
    tally.add(1, pack(events), WINDOW)
    numbers = of_all(tally)
    days, _ = days_and_times(events, WINDOW)
    for first, end in combinations(range(-1, 8), 2):
        did = in_range(days, first, end)
        for measure in set(Measure) - {Measure.EVENTS}:
            assert in_days(numbers, measure, first, end) == (measure in did), (measure, first, end)


@settings(max_examples=100, deadline=None)
@given(histories)
@example(TRIES_AND_ADDS_LATER)
@example(TRIES_ANOTHER)
def test_and_so_they_do_in_each_group_with_what_they_did_as_one_of_it(events):
    events = sorted(events)
    tally = Tally()
    tally.add(1, pack(events), WINDOW)
    numbers = Counter()
    for row, cells in tally.cells().items():
        for (value, measure, previous), number in cells.items():
            group = row[1], row[3] if row[1] is Dimension.PRODUCT else value
            numbers[group, measure, row[2], previous] += number
    for dimension, value_of in zip(GROUPS, VALUES_OF, strict=True):
        for value in set(map(value_of, events)):
            of_group = Counter()
            for (group, measure, *days), number in numbers.items():
                if group == (dimension, value):
                    of_group[measure, *days] += number
            its = [one for one in events if value_of(one) == value]
            days, _ = days_and_times(its, WINDOW)
            for first, end in combinations(range(-1, 8), 2):
                did = in_range(days, first, end)
                for measure in map(Measure, GROUP_MEASURES):
                    # What is like another measure is stored as its difference from it.
                    like = LIKE.get(measure)
                    found = in_days(of_group, measure, first, end)
                    found += in_days(of_group, like, first, end) if like is not None else 0
                    assert found == (measure in did), (dimension, measure, first, end)
                counted = in_days(of_group, Measure.EVENTS, first, end)
                assert counted == sum(first <= one.day < end for one in its)


@settings(max_examples=100, deadline=None)
@given(histories)
@example(visit := [event(1, KINDS[name]) for name in STEPS])
@example([*visit, *(event(49, KINDS[name]) for name in STEPS)])
def test_a_time_counts_on_the_first_day_of_the_range_that_has_one(events):
    events = sorted(events)
    tally = Tally()
    tally.add(1, pack(events), WINDOW)
    coarse, fine = Counter(), Counter()
    for row, cells in tally.cells().items():
        for (value, other, previous), number in cells.items():
            if row[1] in (Dimension.COARSE, Dimension.SPAN):
                coarse[(value, other), row[2], previous] += number
            elif row[1] is Dimension.FINE:
                fine[(row[3], value), row[2], previous] += number
    _, times = days_and_times(events, WINDOW)
    for first, end in combinations(range(-1, 8), 2):
        firsts = {}
        for day in reversed([day for day in times if first <= day < end]):
            firsts |= times[day]
        buckets = {(step, bucket_of(step, seconds)) for step, seconds in firsts.items()}
        assert {one for one, *_ in coarse if in_days(coarse, one, first, end)} == buckets
        seconds = Counter(
            (part(step, bucket_of(step, seconds)), rounded(seconds))
            for step, seconds in firsts.items()
        )
        assert {one: in_days(fine, one, first, end) for one in seconds} == seconds
        assert sum(in_days(fine, one, first, end) for one in {one for one, *_ in fine}) == len(
            firsts
        )
