"""The spool on a real disk, and its way back."""

import fcntl
import os
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress

import pytest

from app.batch import batch as batch_module
from app.batch.batch import Batch
from app.intake import spool as spool_module
from app.intake.drainer import Drainer
from app.intake.spool import Spool, SpoolFull
from tests.calls import body, event
from tests.draining import drain
from tests.intake.test_stream import submission
from tests.processes.running import wait_until

SUCCESS = b'{"success":true}'
AWAY = {"database_url": "postgresql://127.0.0.1:1/x", "redis_url": "redis://127.0.0.1:1"}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "spool"


@pytest.fixture
def spool(folder):
    spool = Spool(folder, max_bytes=2**20)
    yield spool
    spool.close()


@pytest.fixture
def taken():
    return []


@pytest.fixture
def drainer(spool, folder, taken):
    return Drainer(spool, folder, lambda batch: taken.append(batch) or True)


@pytest.mark.slow
def test_batches_come_back_in_order_of_arrival(spool, drainer, taken):
    sent = [submission(f"id-{number}", rejected=number % 2) for number in range(250)]
    for one in sent:
        spool.append(one)
    assert spool.backlog().batches == 250
    assert drainer.drain() == 250
    assert [one.to_entry() for one in taken] == [one.batch.to_entry() for one in sent]
    assert spool.backlog() == (0, None)


def test_what_is_read_at_once_is_bounded_in_bytes(folder, taken):
    with closing(Spool(folder, max_bytes=2**25)) as spool:
        sent = [
            submission(f"id-{number}", properties=b'{"x":"%b"}' % (b"x" * 2**20))
            for number in range(12)
        ]
        for one in sent:
            spool.append(one)
        read = spool.oldest(100)
        assert 1 <= len(read) <= 5
        assert Drainer(spool, folder, lambda batch: taken.append(batch) or True).drain() == 12
    assert [one.to_entry() for one in taken] == [one.batch.to_entry() for one in sent]


def test_batches_outlive_the_process(spool, folder, drainer, taken):
    spool.append(submission("a"))
    another = Spool(folder, max_bytes=2**20)
    another.append(submission("b"))
    another.close()
    assert drainer.drain() == 2


def test_nothing_is_touched_before_the_first_use(spool, drainer, folder):
    assert spool.backlog() == (0, None)
    assert drainer.drain() == 0
    assert not folder.exists()


def test_what_is_not_taken_stays_and_so_does_all_that_came_after(spool, folder):
    for number in range(5):
        spool.append(submission(f"id-{number}"))
    answers = iter([True, True, False])
    assert Drainer(spool, folder, lambda batch: next(answers)).drain() == 2
    assert [Batch.from_entry(one.entry).events for one in spool.oldest(1)] == [
        submission("id-2").batch.events
    ]
    assert spool.backlog().batches == 3


def test_one_process_of_a_machine_drains_at_a_time(spool, folder, drainer):
    spool.append(submission("a"))
    drained = []
    outer = Drainer(spool, folder, lambda batch: drained.append(drainer.drain()) or True)
    assert outer.drain() == 1
    assert drained == [0]


@pytest.mark.slow
def test_the_file_is_bounded_and_what_is_given_back_makes_room(folder, drainer, spool):
    fits = 0
    with suppress(sqlite3.OperationalError):
        while fits < 10_000:
            spool.append(submission(f"id-{fits}", rejected=5))
            fits += 1
    assert 500 < fits < 3_000
    assert (folder / "spool.sqlite").stat().st_size <= 2**20
    assert drainer.drain() == fits
    spool.append(submission("again"))
    assert drainer.drain() == 1


def test_a_file_that_is_no_database_is_put_aside(spool, folder):
    folder.mkdir()
    (folder / "spool.sqlite").write_bytes(b"not a database " * 1000)
    spool.append(submission("a"))
    assert spool.backlog().batches == 1
    [aside] = folder.glob("damaged-*")
    assert aside.read_bytes().startswith(b"not a database")


def test_an_entry_that_cannot_be_read_is_given_back_as_rejected(spool, folder, drainer, taken):
    spool.append(submission("a"))
    with sqlite3.connect(folder / "spool.sqlite") as connection:
        connection.execute("UPDATE batches SET v = x'78'")
    connection.close()
    spool.append(submission("b"))
    assert drainer.drain() == 2
    assert [bool(one.rejected) for one in taken] == [True, False]


def test_many_threads_and_processes_share_the_file(spool, folder, monkeypatch):
    monkeypatch.setattr(spool_module, "_BUSY_TIMEOUT", 20)  # the disk of a busy machine may stall
    others = [Spool(folder, max_bytes=2**22) for _ in range(2)]
    errors = []

    def fill(target, start):
        for number in range(50):
            try:
                target.append(submission(f"{start}-{number}"))
            except (sqlite3.Error, OSError, SpoolFull) as error:
                errors.append(error)

    threads = [
        threading.Thread(target=fill, args=[target, f"{index}-{thread}"])
        for thread in range(4)
        for index, target in enumerate([spool, *others])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for other in others:
        other.close()
    assert errors == []
    assert spool.backlog().batches == 600


@pytest.fixture
def is_flagged(folder):
    """Whether a process waits to write."""

    def is_flagged():
        with (folder / "spool.sqlite-waiting").open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            return False

    return is_flagged


def test_while_it_waits_for_the_file_a_process_lets_others_know(
    spool, folder, is_flagged, monkeypatch
):
    monkeypatch.setattr(spool_module, "_BUSY_TIMEOUT", 20)
    spool.append(submission("a"))
    with closing(sqlite3.connect(folder / "spool.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        waiting = threading.Thread(target=spool.append, args=[submission("b")])
        assert not is_flagged()
        waiting.start()
        wait_until(is_flagged)
        other.execute("ROLLBACK")
        waiting.join()
    assert not is_flagged()
    assert spool.backlog().batches == 2


def test_after_a_write_others_that_wait_have_a_turn_and_then_all_threads_write_at_once(
    spool, folder, monkeypatch
):
    monkeypatch.setattr(spool_module, "_HAND_OVER", 0.5)
    spool.append(submission("a"))
    with (folder / "spool.sqlite-waiting").open() as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        spool.append(submission("b"))
        started = time.monotonic()
        with ThreadPoolExecutor(12) as threads:
            list(threads.map(spool.append, [submission(str(number)) for number in range(12)]))
        assert 0.4 < time.monotonic() - started < 4  # one after the other it would be 6
    assert spool.backlog().batches == 14


def test_with_both_servers_away_the_spool_answers_and_the_rows_are_stored_later(calling, settings):
    batches = [body(event(), event(), event(timestamp=None)) for _ in range(5)]
    away = calling(**AWAY)
    assert [away.post(one).json["accepted"] for one in batches] == [2] * 5
    assert away.post(batches[0]).json["accepted"] == 2  # the retry does not know better
    assert away.outcomes() == {"rejected": 6, "spooled": 12, "limits_skipped": 18}

    back = calling()
    back.extensions["drainer"].drain()
    drain(settings)
    assert len(back.rows()) == 10
    assert len(back.rejected()) == 6


def test_the_spool_drains_by_itself_when_a_server_is_back(calling):
    calling(**AWAY).post(body())
    back = calling(intake="store")
    drainer = back.extensions["drainer"]
    drainer.start()
    drainer.stop()
    assert back.extensions["intake"].spool.backlog().batches == 0
    assert len(back.rows()) == 1


def test_a_full_spool_is_not_stored_and_says_so(calling, settings):
    caller = calling(**AWAY, spool_max_bytes=0)
    replies = [caller.post(body(event(properties={"a": "b" * 20_000}))) for _ in range(5)]
    assert replies[0].data == SUCCESS
    assert replies[-1].json["code"] == "NOT_STORED"
    # What waits is not hurt by what found no room.
    back = calling(spool_max_bytes=0)
    back.extensions["drainer"].drain()
    drain(settings)
    stored = sum(reply.data == SUCCESS for reply in replies)
    assert len(back.rows()) == stored


def test_what_is_spooled_is_for_its_user_only(spool, folder):
    old = os.umask(0)
    try:
        spool.append(submission("a"))
    finally:
        os.umask(old)
    assert folder.stat().st_mode & 0o777 == 0o700
    modes = {file.name: oct(file.stat().st_mode & 0o777) for file in folder.iterdir()}
    files = {f"spool.sqlite{end}" for end in ("", "-wal", "-shm", "-waiting")} | {"spool.reserve"}
    assert modes == dict.fromkeys(files, "0o600")


def test_what_an_earlier_release_spooled_or_put_aside_becomes_private(folder):
    folder.mkdir()
    earlier = Spool(folder, max_bytes=2**20)
    earlier.append(submission("a"))
    (folder / "damaged-1.sqlite").touch()
    for file in folder.iterdir():
        file.chmod(0o644)
    later = Spool(folder, max_bytes=2**20)
    assert later.backlog().batches == 1
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o600}
    later.close()
    earlier.close()


def test_a_batch_of_a_newer_release_stays_in_the_spool_and_others_leave_it(
    spool, folder, taken, caplog, monkeypatch
):
    for id_ in ("a", "newer", "b"):
        spool.append(submission(id_))
    with closing(sqlite3.connect(folder / "spool.sqlite")) as connection, connection:
        connection.execute(
            "UPDATE batches SET batch = CAST(batch || x'096D6F7265' AS BLOB) WHERE id = 2"
        )
    is_up = [True]

    def take(batch):
        return is_up[0] and (taken.append(batch) or True)

    drainer = Drainer(spool, folder, take)
    assert drainer.drain() == 2
    is_up[0] = False
    spool.append(submission("c"))
    assert (drainer.drain(), drainer.drain()) == (0, 0)
    is_up[0] = True
    assert drainer.drain() == 1
    assert [one.keys for one in taken] == [submission(id_).batch.keys for id_ in "abc"]
    assert not any(one.rejected for one in taken)
    assert [one.id for one in spool.oldest(10)] == [2]
    assert len([one for one in caplog.records if one.action == "newer_entries"]) == 1

    form = batch_module.FORM
    monkeypatch.setattr(batch_module, "FORM", form._replace(batch_columns=form.batch_columns + 1))
    assert Drainer(spool, folder, take).drain() == 1
    assert taken[-1].line.endswith(b"\tmore")


def test_a_process_that_ends_reports_what_its_last_drain_counted(spool, folder):
    counted, reported = [], []
    drainer = Drainer(
        spool, folder, lambda batch: counted.append(batch) or True,
        lambda: reported.append(len(counted)),
    )  # fmt: skip
    spool.append(submission("a"))
    drainer.start()
    drainer.stop()
    assert reported[-1] == 1


@pytest.mark.parametrize(("batches", "is_packed"), [(2, False), (12, True)])
def test_an_empty_file_gives_its_room_back_where_it_was_large(
    spool, folder, drainer, batches, is_packed
):
    for number in range(batches):
        spool.append(submission(str(number), properties=b'{"x":"%b"}' % (b"x" * 40_000)))
    assert drainer.drain() == batches
    pages = (folder / "spool.sqlite").stat().st_size // 4096
    assert pages < 10 if is_packed else pages > 20


def test_a_large_file_with_something_in_it_stays_as_it_is(spool, folder):
    for number in range(12):
        spool.append(submission(str(number), properties=b'{"x":"%b"}' % (b"x" * 40_000)))
    answers = iter([True] * 11 + [False])
    assert Drainer(spool, folder, lambda batch: next(answers)).drain() == 11
    assert (folder / "spool.sqlite").stat().st_size > 100 * 4096


def test_on_a_machine_that_has_just_started_a_batch_is_taken_at_once(spool, monkeypatch):
    """Whose clock begins at 0."""
    monkeypatch.setattr(spool_module.time, "monotonic", lambda: 0.1)
    spool.append(submission("a"))
    assert spool.backlog().batches == 1
