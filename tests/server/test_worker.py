"""gunicorn's worker in this process, with the app's real parts, on a socket of its own."""

import asyncio
import gc
import os
import signal
import socket
import sys
import threading
import time
from contextlib import closing, contextmanager, suppress
from types import SimpleNamespace

import pytest
import uvloop

from app import create_app
from app.intake import keys
from app.server import worker as worker_module
from app.server.worker import Worker
from tests.processes.running import wait_until
from tests.server.conftest import PLAIN, Caller, post

SUCCESS = (200, b'{"success":true}')


@pytest.fixture
def worker(settings, monkeypatch):
    """As gunicorn has it once it has forked; ends quickly, and counts its heartbeats."""
    monkeypatch.setattr(worker_module, "TICK", 0.02)
    worker = object.__new__(Worker)
    worker.wsgi = create_app(settings)
    listening = socket.create_server(("127.0.0.1", 0))
    worker.address = listening.getsockname()
    worker.sockets = [SimpleNamespace(sock=listening)]
    worker.cfg = SimpleNamespace(keepalive=95, backlog=64, graceful_timeout=5)
    worker.log = SimpleNamespace(exception=lambda text: worker.faults.append(text))
    worker.alive, worker.ppid, worker.max_requests = True, os.getppid(), sys.maxsize
    worker.faults, worker.beats = [], []
    worker.notify = lambda: worker.beats.append(time.monotonic())
    worker.loop = uvloop.new_event_loop()
    worker._told_to_stop = asyncio.Event()
    handler, thresholds = signal.getsignal(signal.SIGTERM), gc.get_threshold()
    yield worker
    signal.signal(signal.SIGTERM, handler)
    gc.set_threshold(*thresholds)
    gc.unfreeze()
    listening.close()
    worker.loop.close()


@contextmanager
def calling(worker):
    caller = Caller(worker)
    with closing(caller.socket):
        yield caller


def run(worker, *steps):
    """Serve until all steps are done, each on a thread beside it."""
    failed = []

    def go():
        try:
            wait_until(lambda: hasattr(worker, "server"))
            for step in steps:
                step()
        except (AssertionError, OSError, TimeoutError) as error:
            failed.append(error)
        finally:
            with suppress(RuntimeError):  # it has ended by itself
                worker._stop()

    thread = threading.Thread(target=go)
    thread.start()
    worker.run()
    thread.join()
    assert worker.faults == []
    if failed:
        raise failed[0]


def test_it_serves_beats_and_gives_everything_back_in_the_end(worker, redis_client, database):
    before = set(threading.enumerate())

    def of_the_web():
        clients = [one["name"] for one in redis_client.client_list() if one["id"] != own]
        rows = database.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid()"
        )
        return len(clients), rows.fetchone()[0]

    def post_one():
        with calling(worker) as caller:
            caller.send(post())
            assert caller.replies(1) == [SUCCESS]
        worker.wsgi.extensions["intake"].spool.backlog()
        worker.wsgi.extensions["reports"].read(lambda connection: connection.execute("SELECT 1"))
        seen.append(of_the_web())

    own, seen = redis_client.client_id(), []
    run(worker, post_one, lambda: wait_until(lambda: len(worker.beats) > 3))
    assert seen[0][0] >= 1
    assert seen[0][1] >= 1
    wait_until(lambda: of_the_web()[1] == 0)
    left = {one.name for one in set(threading.enumerate()) - before if one.is_alive()}
    assert not {"drainer", "watch", "reporter"} & left
    assert worker.loop.is_closed()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    assert gc.get_threshold()[:2] == (20_000, 50)
    assert gc.get_freeze_count() > 0


def test_its_threads_are_there_while_it_serves_and_gone_after_it(worker, redis_client):
    seen = set()
    run(worker, lambda: seen.update(one.name for one in threading.enumerate()))
    assert {"drainer", "watch", "reporter"} <= seen
    assert redis_client.hgetall(keys.processes()) == {}


def test_who_is_in_the_middle_of_a_request_has_the_time_to_end_it(worker):
    received = []

    def half():
        whole = post(PLAIN % 3)
        with calling(worker) as caller:
            caller.send(whole[:-5])
            time.sleep(0.1)
            worker._stop()
            time.sleep(0.2)
            caller.send(whole[-5:])
            received.append(caller.rest())

    run(worker, half)
    assert received[0].startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("stop", ["quick", "graceful"])
def test_who_never_ends_a_request_is_cut_off(worker, stop):
    worker.cfg.graceful_timeout = 60 if stop == "quick" else 0.3
    took = []

    def half():
        with calling(worker) as caller:
            caller.send(post(PLAIN % 3)[:-5])
            time.sleep(0.1)
            began = time.monotonic()
            (worker._stop_at_once if stop == "quick" else worker._stop)()
            assert caller.rest() in (b"", b"<reset>")
            took.append(time.monotonic() - began)

    run(worker, half)
    assert took[0] < 10
    if stop == "graceful":
        assert took[0] > 0.2
        assert worker.beats[-1] - worker.beats[0] > 0.2


def test_a_worker_whose_master_is_gone_ends(worker):
    worker.ppid = -1
    worker.run()
    assert worker.faults == []
    assert worker.beats == []
    assert not worker.server.is_busy


def test_after_the_most_requests_a_worker_ends_and_one_before_it_goes_on(worker):
    worker.max_requests = 2

    def send(last):
        with calling(worker) as caller:
            caller.send(post())
            assert caller.replies(1) == [SUCCESS]
        if last:
            wait_until(lambda: not worker.alive)
        else:
            time.sleep(0.1)
            assert worker.alive

    run(worker, lambda: send(False), lambda: send(True))


def test_a_fault_of_the_loop_is_said_and_the_process_ends_all_the_same(worker):
    beats = iter([1, 1, 1])
    with closing(socket.create_connection(worker.address)):
        worker.notify = lambda: next(beats)
        worker.run()
    assert worker.faults == ["The worker ends with a fault"]
    assert worker.loop.is_closed()


def test_a_worker_that_hangs_tells_gunicorn_and_ends(worker):
    told = []
    worker.cfg.worker_abort = told.append
    with pytest.raises(SystemExit) as ended:
        worker._give_up()
    assert ended.value.code == 1
    assert told == [worker]


def test_what_is_idle_is_closed_while_it_serves(worker):
    """The server's clock is the worker's tick."""
    worker.cfg.keepalive = 0.1
    received = []

    def wait():
        with calling(worker) as caller:
            caller.send(post())
            caller.replies(1)
            received.append(caller.rest())

    run(worker, wait)
    assert received == [b""]
