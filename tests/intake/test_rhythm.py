"""How often a web process looks at what it does beside its requests."""

from contextlib import closing

import pytest
from redis import ConnectionError as RedisIsAway

from app.intake import ASK_EVERY
from app.intake.drainer import Drainer
from app.intake.spool import Spool
from app.intake.watch import Watch
from tests.pauses import Pauses


@pytest.fixture
def clock(monkeypatch):
    now = [1_000.0]
    monkeypatch.setattr("app.intake.watch.time.monotonic", lambda: now[0])
    return now


def passing(clock):
    def pass_(seconds):
        clock[0] += seconds

    return pass_


def test_journals_are_tried_twice_a_second_and_redis_is_asked_every_half_minute(clock):
    asked, probed = [], []
    watch = Watch(lambda: asked.append(clock[0]), lambda: probed.append(clock[0]),
                  ask_every=ASK_EVERY)  # fmt: skip
    watch._stop = Pauses(181, passing(clock))
    watch._run()
    assert set(watch._stop.noted) == {0.5}
    assert len(probed) == 181
    assert asked == [1_000.0, 1_030.0, 1_060.0, 1_090.0]


def test_a_redis_that_was_away_is_asked_again_at_the_next_look(clock):
    asked = []

    def ask():
        asked.append(clock[0])
        if len(asked) < 3:
            raise RedisIsAway

    watch = Watch(ask, lambda: None, ask_every=10)
    watch._stop = Pauses(30, passing(clock))
    watch._run()
    assert asked == [1_000.0, 1_000.5, 1_001.0, 1_011.0]


def test_the_spool_is_looked_at_twice_a_second_and_after_a_fault_less_often(tmp_path):
    with closing(Spool(tmp_path / "spool", max_bytes=2**20)) as spool:
        reports = []

        def report():
            reports.append(1)
            if len(reports) == 2:
                raise OSError

        drainer = Drainer(spool, tmp_path, lambda batch: True, report)
        drainer._stop = Pauses(5)
        drainer._run()
    assert drainer._stop.noted == [0.5, 0.5, 5.0, 0.5, 0.5]
    assert len(reports) == 4 + 1  # the last time once more, for what the last drain has counted
