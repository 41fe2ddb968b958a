"""How long a server has to store, and what becomes of a connection."""

import time

import psycopg
import pytest

from app.store.connections import WORKER_FIRST_TIME, WORKER_TIME
from app.worker import storing as storing_module
from app.worker.storing import Storing
from tests.intake.test_stream import submission

ONE = [submission("a").batch]


class Connection:
    deadline, closed = None, False

    def close(self):
        self.closed = True


class Slow:
    """A writer whose server hangs until the deadline, or refuses at once, so many times."""

    def __init__(self, clock):
        self.clock, self.fails, self.given = clock, [], []

    def write(self, connection, batches):
        self.given.append(connection.deadline - self.clock[0])
        if self.fails:
            if self.fails.pop(0) == "hangs":
                self.clock[0] = connection.deadline
            raise psycopg.OperationalError
        return 1


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(storing_module.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def made():
    return []


@pytest.fixture
def slow(clock):
    return Slow(clock)


@pytest.fixture
def storing(slow, made):
    def connect():
        made.append(Connection())
        return made[-1]

    return Storing(connect, slow)


def fails(storing):
    with pytest.raises(psycopg.OperationalError):
        storing.store(ONE)


def test_a_server_that_hangs_has_twice_as_long_the_next_time_up_to_a_bound(storing, slow):
    slow.fails = ["hangs"] * 9
    for _ in range(9):
        fails(storing)
    expected = [min(WORKER_FIRST_TIME * 2**number, WORKER_TIME) for number in range(9)]
    assert slow.given == pytest.approx(expected)
    assert expected[-1] == WORKER_TIME
    storing.store(ONE)
    storing.store(ONE)  # it is well again
    assert slow.given[-2:] == pytest.approx([WORKER_TIME, WORKER_FIRST_TIME])


def test_one_that_refuses_at_once_has_no_longer(storing, slow):
    slow.fails = ["refuses"] * 3
    for _ in range(3):
        fails(storing)
    assert slow.given == pytest.approx([WORKER_FIRST_TIME] * 3)


def test_after_a_failure_a_new_connection_is_made_and_one_that_is_well_is_kept(storing, slow, made):
    storing.store([])
    assert made == []  # for nothing
    slow.fails = ["refuses"]
    fails(storing)
    storing.store(ONE)
    storing.store(ONE)
    assert [one.closed for one in made] == [True, False]
    storing.close()
    assert [one.closed for one in made] == [True, True]


def test_what_was_stored_is_told_with_its_time(slow, made):
    told = []
    storing = Storing(Connection, slow, lambda *both: told.append(both))
    began = time.perf_counter()
    storing.store([submission("a", "b").batch, submission("c").batch])
    [(seconds, events)] = told
    assert events == 3
    assert 0 <= seconds <= time.perf_counter() - began
    slow.fails = ["refuses"]
    fails(storing)
    assert len(told) == 1
