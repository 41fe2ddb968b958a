"""Journals that were skipped and that no batch tries: they are tried all the same."""

import pytest

from tests.calls import body
from tests.draining import drain
from tests.intake.test_intake import NO_POSTGRES, NO_REDIS, SUCCESS
from tests.processes.running import wait_until
from tests.redis_servers import KEEPS, ON_BOTH, redis_server


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr("app.intake.intake._PROBE_AFTER", 0.0)


@pytest.fixture
def probed():
    """Makes a caller's intake try what it skips, for a while; the names of what stays skipped."""

    def probed(caller, seconds=1):
        intake = caller.extensions["intake"]
        journals = (intake.streams.of("any"), intake.postgres, intake.spool)

        def skipped():
            intake.probe()
            return [one.name for one in journals if one.breaker.since]

        try:
            wait_until(lambda: not skipped(), seconds)
        except AssertionError:
            return skipped()
        return []

    return probed


def readyz(caller):
    return caller.get("/readyz").json


def test_a_full_stream_shows_until_the_worker_has_made_room(calling, settings):
    caller = calling(stream_max_batches=1)
    for _ in range(2):
        assert caller.post(body()).data == SUCCESS
    assert [*readyz(caller)["paused"]] == ["stream"]
    drain(settings)
    assert caller.post(body()).data == SUCCESS
    wait_until(lambda: not readyz(caller)["paused"])


@pytest.mark.slow
@pytest.mark.parametrize("program", ON_BOTH)
def test_a_redis_is_skipped_until_it_takes_writes(calling, tmp_path, probed, program):
    with redis_server(program, tmp_path / "redis", **KEEPS) as client:
        caller = calling(redis_url=client.url)
        assert caller.post(body()).data == SUCCESS
        client.config_set("min-replicas-to-write", 1)
        assert caller.post(body()).data == SUCCESS
        assert probed(caller) == ["stream"]
        # A Redis that takes no writes cannot keep the notice of it either.
        state = readyz(caller)
        assert (state["status"], [*state["paused"]]) == ("degraded", ["stream"])
        client.config_set("min-replicas-to-write", 0)
        assert probed(caller, 10) == []


@pytest.mark.slow
def test_a_spool_is_back_when_its_folder_can_be_made(calling, tmp_path, probed):
    (tmp_path / "file").touch()
    caller = calling(
        database_url=NO_POSTGRES, redis_url=NO_REDIS, spool_dir=str(tmp_path / "file" / "spool")
    )
    assert caller.post(body()).json["code"] == "NOT_STORED"
    assert "spool" in probed(caller)
    (tmp_path / "file").unlink()
    assert probed(caller) == ["stream", "store"]
