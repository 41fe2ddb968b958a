"""The one kind of loop that the worker's duties are."""

import logging
import threading
from contextlib import closing

import psycopg
import pytest

from app.store.connections import connect
from app.worker.duty import Duty, OwnConnection


class Stop(threading.Event):
    """Notes the pauses instead of waiting for them."""

    def __init__(self):
        super().__init__()
        self.pauses = []

    def wait(self, timeout=None):
        if not self.is_set():
            self.pauses.append(timeout)
        return self.is_set()


@pytest.fixture
def stop():
    return Stop()


@pytest.fixture
def doing(stop):
    """Runs a duty that returns, or raises, one of the outcomes at each step."""

    class Script(Duty):
        name, first_pause, longest_pause = "trying", 0.1, 1.0
        let_go_of = 0

        def __init__(self, outcomes):
            self.outcomes = list(outcomes)

        def step(self):
            outcome = self.outcomes.pop(0)
            if not self.outcomes:
                stop.set()
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        def let_go(self):
            self.let_go_of += 1

    def run(*outcomes, retried=(Exception,)):
        duty = Script(outcomes)
        duty.retried = retried
        duty.run(stop)
        return duty

    return run


def away():
    return psycopg.OperationalError("connection refused")


def test_a_step_says_how_long_to_pause(doing, stop):
    doing(0.0, 2.5, 0.0, 1.0)
    assert stop.pauses == [0.0, 0.0, 2.5, 0.0]


def test_each_failure_in_a_row_doubles_the_pause_up_to_the_longest(doing, stop):
    doing(*(away() for _ in range(7)))
    assert stop.pauses == [0.0, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_after_a_step_that_worked_the_pauses_begin_anew(doing, stop):
    doing(away(), away(), 0.0, away(), 0.0)
    assert stop.pauses == [0.0, 0.1, 0.2, 0.0, 0.1]


def test_an_outage_of_days_is_waited_out(doing, stop):
    doing(*(away() for _ in range(3_000)))
    assert stop.pauses[-1] == 1.0


def test_a_failure_is_said_once_and_so_is_its_end(doing, caplog):
    caplog.set_level(logging.INFO)
    doing(away(), away(), away(), 0.0, 0.0)
    said = [(record.levelname, record.action, bool(record.exc_info)) for record in caplog.records]
    assert said == [("WARNING", "trying_waits", False), ("INFO", "trying_goes_on", False)]
    assert caplog.records[0].cause == "OperationalError: connection refused"


def test_a_fault_of_ours_is_an_error_with_its_traceback_and_tells_no_values(doing, caplog):
    doing(away(), ValueError("a shopper's address"), ValueError("another"), 0.0)
    waits = [record for record in caplog.records if record.action == "trying_waits"]
    assert [record.levelname for record in waits] == ["WARNING", "ERROR"]
    assert (waits[1].cause, bool(waits[1].exc_info)) == ("ValueError", True)


def test_it_lets_go_after_each_failure_and_at_the_end(doing):
    assert doing(0.0, away(), away(), 0.0).let_go_of == 3


def test_what_is_not_to_be_retried_ends_it(doing):
    with pytest.raises(ZeroDivisionError):
        doing(0.0, ZeroDivisionError(), 0.0, retried=(psycopg.Error,))


def test_a_connection_is_kept_and_opened_again_after_it_was_lost(database_url):
    own = OwnConnection(lambda: connect(database_url, "tests"))
    with closing(own):
        first = own.get()
        assert own.get() is first
        first.execute("SELECT 1")
        with pytest.raises(psycopg.OperationalError):
            first.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        assert own.get().execute("SELECT 1").fetchone() == (1,)
        own.close()
        assert own.get().execute("SELECT 1").fetchone() == (1,)
