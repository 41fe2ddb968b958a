"""A server that takes a connection or a statement and never answers."""

import os
import signal
import socket
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.calls import body

SUCCESS = b'{"success":true}'


@pytest.fixture
def black_hole():
    """The port of a server that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def quick_disk(tmp_path):
    """A folder whose disk makes nobody wait, where the machine has one."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


@contextmanager
def frozen(database):
    """The processes that serve the web's connections stand still."""
    rows = database.execute(
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'genlook web'"
    ).fetchall()
    assert rows
    for (pid,) in rows:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for (pid,) in rows:
            os.kill(pid, signal.SIGCONT)


def seconds(call):
    started = time.monotonic()
    reply = call()
    return time.monotonic() - started, reply


def test_a_redis_that_hangs_costs_one_request_a_moment(calling, black_hole):
    caller = calling(redis_url=f"redis://127.0.0.1:{black_hole}")
    first, reply = seconds(lambda: caller.post(body()))
    assert reply.data == SUCCESS
    assert first < 1.5
    second, reply = seconds(lambda: caller.post(body()))
    assert reply.data == SUCCESS
    assert second < first / 2
    assert len(caller.rows()) == 2


@pytest.mark.slow
def test_a_postgres_that_hangs_in_a_statement_costs_one_request_a_moment(
    calling, database, quick_disk
):
    caller = calling(intake="store", spool_dir=str(quick_disk))
    assert caller.post(body()).data == SUCCESS
    with frozen(database):
        first, reply = seconds(lambda: caller.post(body()))
        assert reply.data == SUCCESS  # from the spool
        assert first < 1.5
        second, reply = seconds(lambda: caller.post(body()))
        assert reply.data == SUCCESS  # from the spool
        assert second < first / 2
    time.sleep(0.3)
    assert caller.post(body()).data == SUCCESS


def test_servers_that_both_hang_cost_less_than_a_second_and_a_half(calling, black_hole):
    caller = calling(
        redis_url=f"redis://127.0.0.1:{black_hole}",
        database_url=f"postgresql://postgres@127.0.0.1:{black_hole}/x",
    )
    took, reply = seconds(lambda: caller.post(body()))
    assert reply.data == SUCCESS  # from the spool
    assert took < 1.5


@pytest.fixture
def noting(database):
    """Notes the time limit under which each batch is written."""
    database.execute(
        "CREATE TABLE noted (seconds text);"
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " INSERT INTO noted VALUES (current_setting('statement_timeout')); RETURN NULL; END $$;"
        "CREATE TRIGGER note AFTER INSERT ON stored_batches EXECUTE FUNCTION note()"
    )
    yield lambda: [row[0] for row in database.execute("SELECT seconds FROM noted")]
    database.execute("DROP FUNCTION note CASCADE; DROP TABLE noted")


def test_a_server_ends_by_itself_what_nobody_waits_for(calling, caller, noting):
    """A request's statement after two seconds, a worker's after a minute."""
    calling(intake="store").post(body())
    caller.post(body())
    caller.rows()
    assert noting() == ["2s", "1min"]
