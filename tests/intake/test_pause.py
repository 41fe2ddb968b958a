import pytest

from app.intake.breaker import Pause


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 100.0

    monkeypatch.setattr("app.intake.breaker.time.monotonic", lambda: Clock.now)
    return Clock


@pytest.fixture
def pause(clock):
    return Pause()


def test_all_may_call_while_all_is_well(pause):
    assert [pause.allows() for _ in range(3)] == [True] * 3
    assert pause.succeeded() is False


def test_after_a_failure_nobody_calls_until_the_pause_is_over(pause, clock):
    assert pause.failed() is True
    assert pause.allows() is False
    clock.now += 0.26
    assert pause.allows() is True


def test_one_at_a_time_tries_again(pause, clock):
    pause.failed()
    clock.now += 0.26
    assert [pause.allows() for _ in range(3)] == [True, False, False]
    assert pause.succeeded() is True
    assert [pause.allows() for _ in range(3)] == [True] * 3


def test_the_pause_grows_with_each_failed_try_up_to_its_limit(pause, clock):
    pause.failed()
    lengths = []
    for _ in range(7):
        waited = 0.0
        while not pause.allows():
            clock.now += 0.125
            waited += 0.125
        lengths.append(waited)
        pause.failed()
    assert lengths == [0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0]


def test_failures_of_those_already_on_their_way_do_not_prolong_it(pause, clock):
    assert [pause.failed() for _ in range(5)] == [True, False, False, False, False]
    clock.now += 0.26
    assert pause.allows() is True


def test_a_late_success_does_not_end_the_pause_for_all(pause):
    pause.failed()
    assert pause.succeeded() is False
    assert pause.allows() is False


def test_it_tells_since_when_it_lasts(pause, clock):
    assert pause.since is None
    pause.failed()
    since = pause.since
    assert since
    clock.now += 1
    pause.allows()
    pause.failed()
    assert pause.since == since
