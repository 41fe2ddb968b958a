"""After an erasure is done: for how long, and how often, what arrives late is looked for."""

from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from app.privacy import requests
from app.privacy import work as work_module
from app.privacy.subject import Subject
from app.privacy.waiting import Journals
from app.privacy.work import Work
from tests.calls import SHOP, body

SECOND, MINUTE, HOUR = 1, 60, 3_600


@pytest.fixture
def work(settings):
    with closing(Work(Journals.of(settings))) as work:
        yield work


@pytest.fixture
def asked(database):
    def asked(kind=requests.ERASE_CUSTOMER):
        return requests.add(
            database, kind, SHOP, Subject.build(customer_id="7"), source="test",
            requested_at=datetime.now(UTC),
        )  # fmt: skip

    return asked


def step(work, database, id_, **ages):
    """A step of the request, as if each time named was so many seconds ago; the seconds until the
    next step, None where there is none."""
    for column, seconds in ages.items():
        database.execute(
            f"UPDATE privacy_requests SET {column} = now() - %s WHERE id = %s",
            [timedelta(seconds=seconds), id_],
        )
    database.execute("UPDATE privacy_requests SET due_at = now() WHERE id = %s", [id_])
    work.run_due(database, id_=id_)
    row = database.execute(
        "SELECT extract(epoch FROM due_at - now()) FROM privacy_requests WHERE id = %s", [id_]
    ).fetchone()
    return None if row[0] is None else float(row[0])


def state(database, id_):
    return requests.find(database, id_=id_)[0].state


def test_it_is_looked_for_ever_more_seldom_for_thirty_days(work, database, asked, monkeypatch):
    id_ = asked()
    assert 0 < step(work, database, id_) <= 1
    assert state(database, id_) == requests.SETTLING
    assert 0 < step(work, database, id_, searched_at=6) <= 1
    assert state(database, id_) == requests.SETTLING
    assert 13 < step(work, database, id_, searched_at=8) <= 15
    assert state(database, id_) == requests.WATCHING
    for age, pause in (
        (9 * MINUTE + 50, 15 * SECOND),
        (10 * MINUTE, 5 * MINUTE),
        (6 * HOUR - 10, 5 * MINUTE),
        (6 * HOUR, 6 * HOUR),
        (30 * 24 * HOUR - 10, 6 * HOUR),
    ):
        assert pause - 2 < step(work, database, id_, searched_at=age) <= pause, age
    assert requests.find(database, id_=id_)[0].traces
    assert step(work, database, id_, searched_at=30 * 24 * HOUR) is None
    assert state(database, id_) == requests.CLOSED
    assert requests.find(database, id_=id_)[0].traces is None


def test_an_export_waits_for_what_may_still_arrive_but_not_for_ever(work, database, asked, caller):
    caller.post(body(), customer="7")  # waits in the stream
    id_ = asked(requests.EXPORT_CUSTOMER)
    assert 0 < step(work, database, id_) <= 1
    assert 0 < step(work, database, id_, started_at=7) <= 1
    assert 0 < step(work, database, id_, started_at=9) <= 1
    assert 0 < step(work, database, id_, started_at=HOUR - 5) <= 1
    assert state(database, id_) == requests.EXPORTING
    assert step(work, database, id_, started_at=HOUR) is None
    assert requests.find(database, id_=id_)[0].outcome == requests.DONE


def test_an_export_of_what_is_stored_waits_a_moment_only(work, database, asked, caller):
    caller.post(body(), customer="8")  # another's waits
    id_ = asked(requests.EXPORT_CUSTOMER)
    assert 0 < step(work, database, id_, started_at=7) <= 1
    assert step(work, database, id_, started_at=8) is None
    assert requests.find(database, id_=id_)[0].outcome == requests.DONE


def test_a_step_that_goes_on_for_long_keeps_the_request(database, asked, monkeypatch):
    id_ = asked()
    request = requests.take_due(database, id_)
    clock = [0.0]
    monkeypatch.setattr(work_module.time, "monotonic", lambda: clock[0])
    told = []
    renew = work_module._renewing(database, request, lambda *step: told.append(step))
    for seconds, is_renewed in ((5.0, False), (5.1, True), (10.0, False), (10.3, True)):
        database.execute("UPDATE privacy_requests SET due_at = now()")
        clock[0] = seconds
        renew("events", 3)
        assert (requests.take_due(database) is None) is is_renewed
    assert told == [("events", 3)] * 4
