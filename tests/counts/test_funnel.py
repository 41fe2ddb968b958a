"""The funnel of one visitor beside the plainest way to work it out, at the edges of the window."""

from hypothesis import given, settings
from hypothesis import strategies as st

from app.counts.measures import KINDS, STEP_MEASURES, STEPS, Event, Measure
from app.counts.visitor import EVER, days_and_times, in_range

HALF = 12 * 60 * 60 * 1_000_000  # µs, of a day and of the window
WINDOW = 2 * HALF
PAGE, BUTTON, PHOTO, GENERATION = (KINDS[name] for name in STEPS[:4])

# In halves of a window, so that what is just within it comes up as often as what is just beyond.
histories = st.lists(
    st.tuples(st.integers(0, 9), st.sampled_from([KINDS[name] for name in STEPS]),
              st.sampled_from([0, 0, 1])),
    min_size=1, max_size=14,
)  # fmt: skip


def events_of(history):
    made = [(halves * HALF + more, kind) for halves, kind, more in history]
    return [Event(at, kind, at // (2 * HALF), 1, 1, 1, 1) for at, kind in sorted(made)]


def steps_from(events, place):
    """How far the attempt gets that begins at a place, and when it reaches each step."""
    start, reached = events[place].at, [(events[place].at, True)]
    for event in events[place + 1 :]:
        if event.at - start > WINDOW:
            break
        number = len(reached)
        if event.kind == GENERATION and number == PHOTO - PAGE:  # the photo was kept
            reached += [(event.at, False), (event.at, True)]
        elif number < len(STEPS) and event.kind == KINDS[STEPS[number]]:
            reached.append((event.at, True))
    return reached


def furthest(events, began_by=EVER):
    """By day, how many steps the best of its attempts reaches."""
    found = {}
    for place, event in enumerate(events):
        if event.kind == PAGE and event.at <= began_by:
            found[event.day] = max(found.get(event.day, 0), len(steps_from(events, place)))
    return found


def reached_in(days):
    return {
        day: len(steps)
        for day, measures in days.items()
        if (steps := [measure for measure in STEP_MEASURES if measure in measures])
    }


@settings(max_examples=300)
@given(histories)
def test_each_day_s_best_attempt_counts(history):
    events = events_of(history)
    assert reached_in(days_and_times(events, WINDOW)[0]) == furthest(events)


@settings(max_examples=300)
@given(histories, st.integers(0, 9), st.sampled_from([-1, 0, 1]))
def test_what_began_later_is_left_out(history, halves, more):
    events, began_by = events_of(history), halves * HALF + more
    found = days_and_times(events, WINDOW, began_by=began_by)[0]
    assert reached_in(found) == furthest(events, began_by)


@settings(max_examples=200)
@given(histories)
def test_a_step_s_time_is_that_of_an_attempt_from_the_step_before(history):
    events = events_of(history)
    _, times = days_and_times(events, WINDOW)
    for day, of_day in times.items():
        possible = {}
        for place, event in enumerate(events):
            if event.kind == PAGE and event.day == day:
                reached = steps_from(events, place)
                for number in range(1, len(reached)):
                    if reached[number][1] and reached[number - 1][1]:
                        since, at = reached[number - 1][0], reached[number][0]
                        possible.setdefault(number, set()).add(at)
                        assert since <= at
        for number, seconds in of_day.items():
            if number >= len(STEPS):  # no step's: from a page to the cart
                continue
            assert number in possible
            assert 0 <= seconds <= WINDOW // 1_000_000


def test_times_are_whole_seconds_from_one_step_to_the_next():
    at = [0, 1_999_999, 5_000_000, 65_000_000]
    kinds = [PAGE, BUTTON, PHOTO, GENERATION]
    events = [Event(*both, 0, 1, 1, 1, 1) for both in zip(at, kinds, strict=True)]
    assert days_and_times(events, WINDOW)[1] == {0: {1: 1, 2: 3, 3: 60}}
    many = [events[0], *[Event(1, BUTTON, 0, 1, 1, 1, 1)] * 20, *events[1:]]
    assert days_and_times(many, WINDOW)[1] == {0: {1: 0, 2: 4, 3: 60}}


def test_a_kept_photo_has_no_time_to_it_or_from_it():
    events = [Event(at, kind, 0, 1, 1, 1, 1)
              for at, kind in ((0, PAGE), (10**6, BUTTON), (3 * 10**6, GENERATION))]  # fmt: skip
    days, times = days_and_times(events, WINDOW)
    assert reached_in(days) == {0: 4}
    assert times == {0: {1: 1}}


def test_a_range_is_from_its_first_day_to_the_one_before_its_end():
    days = {3: frozenset({0, 1}), 5: frozenset({2, int(Measure.TRIED), int(Measure.TRIED_ADDED)}),
            7: frozenset({3, int(Measure.UNTRIED_ADDED)})}  # fmt: skip
    tried = {int(Measure.TRIED), int(Measure.TRIED_ADDED)}
    assert in_range(days, 3, 5) == {0, 1}
    assert in_range(days, 3, 6) == {0, 1, 2} | tried
    assert in_range(days, 4, 8) == {2, 3} | tried  # the first decided day decides
    assert in_range(days, 6, 8) == {3, int(Measure.UNTRIED_ADDED)}
    assert in_range(days, 4, 5) == set()
