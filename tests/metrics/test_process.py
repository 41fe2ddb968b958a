"""What a process tells of itself."""

import os
import time
from contextlib import closing

import orjson
import psutil
import pytest

from app.intake.spool import Spool
from app.metrics import process as process_module
from app.metrics.process import HOST, Process, this_process
from tests.intake.test_stream import submission


def test_it_tells_its_own_memory_time_and_release(tmp_path):
    with closing(Spool(tmp_path / "spool", max_bytes=2**20)) as spool:
        spool.append(submission("a"))
        told = this_process("web", "abc", connections=5, spool=spool)
        assert (told.spool_batches, told.spool_oldest_at) == tuple(spool.backlog())
    own = psutil.Process()
    assert told.name == f"web:{HOST}:{os.getpid()}"
    assert told.memory_bytes == pytest.approx(own.memory_info().rss, rel=0.3)
    assert told.cpu_seconds == pytest.approx(time.process_time(), abs=5)
    assert abs(told.at - time.time()) < 5
    assert told.started_at <= told.at
    assert (told.connections, told.revision) == (5, "abc")
    assert told.version
    assert told.python.count(".") == 2


def test_what_it_cannot_tell_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(process_module, "_MEMORY", tmp_path / "none")
    monkeypatch.setattr(process_module, "_PROJECT", tmp_path / "none")
    process_module._version.cache_clear()
    (tmp_path / "file").touch()
    damaged = Spool(tmp_path / "file" / "spool", max_bytes=2**20)
    monkeypatch.setattr(damaged, "_path", tmp_path)
    try:
        told = this_process("web", "", spool=damaged)
    finally:
        process_module._version.cache_clear()
    assert (told.memory_bytes, told.version, told.connections) == (None, "", None)
    assert (told.spool_batches, told.spool_oldest_at) == (0, None)


def test_what_another_release_tells_is_read_as_far_as_it_is_known():
    text = orjson.dumps({"kind": "web", "pid": 5, "of_a_later_release": 1})
    assert Process.read(text) == Process(kind="web", pid=5)
    whole = this_process("worker", "r")
    assert Process.read(orjson.dumps(whole)) == whole
