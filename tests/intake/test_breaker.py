import pytest

from app.intake.breaker import CircuitBreaker


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 100.0

    monkeypatch.setattr("app.intake.breaker.time.monotonic", lambda: Clock.now)
    return Clock


@pytest.fixture
def breaker(clock):
    return CircuitBreaker()


def test_all_may_call_while_all_is_well(breaker):
    assert [breaker.allow() for _ in range(3)] == [True] * 3
    assert breaker.record_success() is False


def test_after_a_failure_nobody_calls_until_the_pause_is_over(breaker, clock):
    assert breaker.record_failure() is True
    assert breaker.allow() is False
    clock.now += 0.26
    assert breaker.allow() is True


def test_one_at_a_time_tries_again(breaker, clock):
    breaker.record_failure()
    clock.now += 0.26
    assert [breaker.allow() for _ in range(3)] == [True, False, False]
    assert breaker.record_success() is True
    assert [breaker.allow() for _ in range(3)] == [True] * 3


def test_who_tries_for_nobody_lets_callers_try_first(breaker, clock):
    breaker.record_failure()
    clock.now += 0.26
    assert breaker.allow(after=1.0) is False
    clock.now += 1.0
    assert breaker.allow(after=1.0) is True


def test_the_pause_grows_with_each_failed_try_up_to_its_limit(breaker, clock):
    breaker.record_failure()
    lengths = []
    for _ in range(7):
        waited = 0.0
        while not breaker.allow():
            clock.now += 0.125
            waited += 0.125
        lengths.append(waited)
        breaker.record_failure()
    assert lengths == [0.25, 0.5, 1.0, 2.0, 3.0, 3.0, 3.0]


def test_failures_of_those_already_on_their_way_do_not_prolong_it(breaker, clock):
    assert [breaker.record_failure() for _ in range(5)] == [True, False, False, False, False]
    clock.now += 0.26
    assert breaker.allow() is True


def test_a_late_success_does_not_end_the_pause_for_all(breaker):
    breaker.record_failure()
    assert breaker.record_success() is False
    assert breaker.allow() is False


def test_it_tells_since_when_it_lasts(breaker, clock):
    assert breaker.since is None
    breaker.record_failure()
    since = breaker.since
    assert since
    clock.now += 1
    breaker.allow()
    breaker.record_failure()
    assert breaker.since == since


def test_on_a_machine_that_has_just_started_all_may_call_too(breaker, clock):
    """Whose clock begins at 0."""
    clock.now = 0.1
    assert breaker.allow() is True
    breaker.record_failure()
    clock.now = 0.36
    assert breaker.allow(after=0.0) is True
