"""The spool on a disk that is full, and has room again."""

import random
import sqlite3
import subprocess
from contextlib import closing, suppress

import pytest

from app.intake.drainer import Drainer
from app.intake.spool import Spool, SpoolFull
from tests.calls import body, event
from tests.draining import drain
from tests.intake.test_spool import AWAY, SUCCESS
from tests.intake.test_stream import submission

FULL_AFTER = 20  # batches in a row that found no room


@pytest.fixture
def disk(tmp_path):
    """A small disk of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting needs root")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder, *, name="others"):
    """Somebody else takes all that is left; returns their file."""
    taken = folder / name
    with taken.open("ab", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x" * 512)
    return taken


def die(*_):
    raise SystemExit


@pytest.fixture
def spooling(calling, disk):
    """Sends batches while both servers are away, until the disk is full; the ids of the events
    that were acknowledged."""

    def spool(seed=0, size=3_000, most=2_000, **changes):
        rng = random.Random(seed)
        caller = calling(**AWAY, spool_dir=str(disk / "spool"), **changes)
        acknowledged, refused = [], 0
        for _ in range(most):
            events = [
                event(properties={"a": "b" * rng.randrange(size)})
                for _ in range(rng.randrange(1, 5))
            ]
            if caller.post(body(*events)).data == SUCCESS:
                acknowledged += [one["$insert_id"] for one in events]
                refused = 0
            elif (refused := refused + 1) == FULL_AFTER:
                break
        return acknowledged

    return spool


@pytest.fixture
def spool(disk):
    with closing(Spool(disk / "spool", max_bytes=2**24)) as spool:
        yield spool


@pytest.fixture
def filled(spool, disk, drainer):
    """The spool has filled the disk; how many batches it took, and somebody else's file."""
    number = 0
    with suppress(SpoolFull, OSError, sqlite3.OperationalError):
        while True:
            if number == 1:  # its process looks every half second
                assert drainer(take=lambda batch: False).drain() == 0
            spool.append(submission(f"id-{number}", rejected=number % 20))
            number += 1
    assert number > 100
    return number, fill(disk)


@pytest.fixture
def drainer(spool, disk):
    """A drainer of a process; `taken` has what it gave back."""

    class Draining(Drainer):
        def __init__(self, spool=spool, take=lambda batch: True):
            self.taken = []
            folder = disk / "spool"
            super().__init__(
                spool, folder, lambda batch: take(batch) and not self.taken.append(batch)
            )

    return Draining


@pytest.fixture
def back(calling, disk):
    """An app with its servers, and the same spool."""
    return calling(intake="store", spool_dir=str(disk / "spool"))


@pytest.mark.slow
@pytest.mark.parametrize("size", [500, 30_000])
def test_a_spool_that_filled_the_disk_drains(spooling, disk, back, size):
    acknowledged = spooling(size=size)
    fill(disk)
    assert len(acknowledged) > 20
    back.extensions["drainer"].drain()
    assert back.extensions["intake"].spool.backlog() == (0, None)
    assert sorted(row["insert_id"] for row in back.rows()) == sorted(acknowledged)
    assert back.outcomes() == {"accepted": len(acknowledged)}


@pytest.mark.slow
def test_with_a_stream_too_every_event_is_stored_and_counted_once(
    spooling, disk, calling, settings
):
    acknowledged = spooling()
    fill(disk)
    back = calling(intake="stream", spool_dir=str(disk / "spool"))
    back.extensions["drainer"].drain()
    assert back.extensions["intake"].spool.backlog() == (0, None)
    drain(settings)
    assert sorted(row["insert_id"] for row in back.rows()) == sorted(acknowledged)
    assert back.extensions["status"]().outcomes["accepted"] == len(acknowledged)
    assert "duplicate" not in back.extensions["status"]().outcomes


def test_once_it_has_drained_batches_are_taken_again_and_the_rest_of_the_disk_is_free(
    spool, filled, drainer
):
    assert not spool.has_room()
    drainer().drain()
    assert spool.has_room()
    for _ in range(3):
        for number in range(50):
            spool.append(submission(f"later-{number}"))
        assert drainer().drain() == 50


def test_nothing_is_taken_in_the_room_that_is_let_go_for_draining(spool, filled, drainer):
    refused = []

    def take(batch):
        try:
            spool.append(submission("meanwhile"))
        except (SpoolFull, sqlite3.OperationalError) as error:
            refused.append(error)
        return True

    number, _ = filled
    assert drainer(take=take).drain() == number == len(refused)


def test_what_was_given_back_and_cannot_be_deleted_is_not_given_again(spool, filled, drainer, disk):
    number, others = filled
    spool.make_room()
    fill(disk)  # and the room of the reserve is gone too
    first, other_process = drainer(), drainer()
    with pytest.raises(sqlite3.OperationalError):
        first.drain()
    assert len(first.taken) == number
    with suppress(sqlite3.OperationalError):
        other_process.drain()
    assert other_process.taken == []
    assert spool.backlog().batches > 0
    others.unlink()
    other_process.drain()
    assert spool.backlog() == (0, None)
    assert other_process.taken == []
    assert spool.has_room()


def test_a_disk_that_fills_up_in_the_middle_of_draining(spool, drainer, disk):
    for number in range(300):
        spool.append(submission(f"id-{number}", rejected=5))
    given = []

    def take(batch):
        given.append(batch)
        if len(given) == 50:
            fill(disk)
        return True

    drainer(take=take).drain()
    assert len(given) == 300
    assert spool.backlog() == (0, None)


def test_a_disk_that_is_full_from_the_start_takes_nothing_until_it_has_room(disk, spool, drainer):
    others = fill(disk)
    for _ in range(3):
        with pytest.raises((OSError, sqlite3.OperationalError)):
            spool.append(submission("too early"))
    with suppress(sqlite3.OperationalError):
        drainer().drain()
    others.unlink()
    spool.append(submission("in time"))
    assert drainer().drain() == 1
    assert not list(disk.glob("spool/damaged-*"))


def test_a_process_that_starts_on_a_full_disk_drains_what_the_one_before_left(
    spool, filled, drainer, disk
):
    spool.close()
    fill(disk, name="more")
    with closing(Spool(disk / "spool", max_bytes=2**24)) as later:
        assert drainer(later).drain() == filled[0]
        assert later.backlog() == (0, None)


def test_who_is_killed_after_giving_back_leaves_a_mark(spool, drainer, monkeypatch):
    for number in range(5):
        spool.append(submission(f"id-{number}"))
    with monkeypatch.context() as patched:
        patched.setattr(spool, "remove", die)
        with pytest.raises(SystemExit):
            drainer().drain()
    next_process = drainer()
    spool.append(submission("new"))
    assert next_process.drain() == 1
    assert spool.backlog() == (0, None)


def test_a_mark_of_a_file_that_is_gone_hides_no_batch(spool, drainer, disk, monkeypatch):
    for number in range(5):
        spool.append(submission(f"id-{number}"))
    with monkeypatch.context() as patched:
        patched.setattr(spool, "remove", die)
        with pytest.raises(SystemExit):
            drainer().drain()
    spool.close()
    for file in disk.glob("spool/spool.sqlite*"):
        file.unlink()
    spool.append(submission("new"))
    assert drainer().drain() == 1


def test_a_batch_that_could_not_be_deleted_in_the_reserves_room_is_refused(spool):
    spool.append(submission("small"))
    with pytest.raises(SpoolFull):
        spool.append(submission("large", rejected=20_000))
    assert spool.has_room()


def test_what_an_older_process_skipped_before_it_was_killed_stays(
    spool, drainer, disk, monkeypatch
):
    for number in range(3):
        spool.append(submission(f"id-{number}"))
    with closing(sqlite3.connect(disk / "spool" / "spool.sqlite")) as connection:
        connection.execute("UPDATE batches SET v = x'39' WHERE id = 2")
        connection.commit()
    with monkeypatch.context() as patched:
        patched.setattr(spool, "remove", die)
        with pytest.raises(SystemExit):
            drainer().drain()
    drainer().drain()
    assert [one.id for one in spool.oldest(10)] == [2]
