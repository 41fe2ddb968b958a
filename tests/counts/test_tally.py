"""A visitor's differences."""

from datetime import UTC, datetime
from itertools import product
from zoneinfo import ZoneInfo

from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.counts.journeys import pack
from app.counts.measures import EVENT_ONLY, KIND_OF, KINDS, STEPS, Event
from app.counts.tally import Tally

HOUR = 60 * 60 * 1_000_000
START = int(datetime(2026, 10, 20, tzinfo=UTC).timestamp()) * 1_000_000
ZONE = ZoneInfo("Asia/Beirut")  # on the 25th a date comes twice there
kinds = st.sampled_from([*KINDS.values(), KINDS[STEPS[0]], EVENT_ONLY, KIND_OF["-widget:own"]])


def event(hours, kind, product=1, version=1):
    at = START + round(hours * HOUR)
    moment = datetime.fromtimestamp(at / 1e6, UTC).astimezone(ZONE)
    return Event(at, kind, moment.toordinal() - 719_163, product, version, 3, 4)


events = st.lists(
    st.builds(
        event,
        st.floats(0, 12 * 24, allow_nan=False),
        kinds,
        st.integers(1, 2),
        st.integers(1, 2),
    ),
    min_size=1,
    max_size=30,
)


def cells_of(act):
    tally = Tally()
    act(tally)
    return {
        (*row, *place): number
        for row, numbers in tally.cells().items()
        for place, number in numbers.items()
        if number
    }


def changed(old, new, window):
    """What `change` adds, and what taking all of the old away and adding everything does."""
    everything = pack(sorted([*old, *new]))
    old = pack(sorted(old))

    def anew(tally):
        if old:
            tally.add(1, old, window, by=-1)
        tally.add(1, everything, window)

    def change(tally):
        tally.change(1, old, everything, [pack([event]) for event in new], window)

    return cells_of(change), cells_of(anew)


@settings(max_examples=400, deadline=None)
@given(st.one_of(st.just([]), events), events, st.sampled_from([1, 24, 72]))
@example([event(0, 0), event(70, 2)], [event(71, 1)], 72)
def test_a_change_comes_to_the_same_as_counting_anew(old, new, hours):
    one, other = changed(old, new, hours * HOUR)
    assert one == other


def test_a_step_counts_on_the_day_its_attempt_began_for_as_long_as_the_window_is():
    for hours, days in product((24, 72), range(4)):
        pages = [event(24 * day, KINDS[STEPS[0]]) for day in range(4)]
        button = event(24 * days + 23, KINDS[STEPS[1]])
        one, other = changed(pages, [button], hours * HOUR)
        assert one == other
        assert one
