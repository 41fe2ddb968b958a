"""/readyz, /metrics and `flask status` on real servers that are there or away."""

from dataclasses import replace

import pytest

from app.health.status import Status
from tests.calls import body, event
from tests.draining import drain
from tests.processes.running import flask

NO_POSTGRES = "postgresql://127.0.0.1:1/nowhere"
NO_REDIS = "redis://127.0.0.1:1"
NO_FOLDER = "/dev/null/spool"


def readyz(caller):
    reply = caller.get("/readyz")
    assert reply.headers["Cache-Control"] == "private, no-store"
    return reply.status_code, reply.json


def test_all_is_well_and_told(calling, settings):
    caller = calling()
    caller.post(body())
    drain(settings)
    caller.post(body())
    code, state = readyz(caller)
    assert (code, state["status"]) == (200, "ok")
    assert (state["postgres"], state["redis"], state["redis_is_persistent"]) == ("up", "up", True)
    assert state["backlog"]["batches"] == 1
    assert 0 <= state["backlog"]["oldest_seconds"] < 30
    assert 0 <= state["worker_seen_seconds"] < 30
    assert state["spool"] == {"batches": 0, "oldest_seconds": None}
    assert state["outcomes_of_day"]["accepted"] == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("away", "word"),
    [
        ({"database_url": NO_POSTGRES}, "degraded"),
        ({"redis_url": NO_REDIS}, "degraded"),
        ({"database_url": NO_POSTGRES, "redis_url": NO_REDIS}, "degraded"),
        (
            {"database_url": NO_POSTGRES, "redis_url": NO_REDIS, "spool_dir": NO_FOLDER},
            "unavailable",
        ),
        ({"database_url": NO_POSTGRES, "intake": "store", "spool_dir": NO_FOLDER}, "unavailable"),
    ],
)
def test_it_is_not_ready_only_where_no_batch_could_be_taken(calling, away, word):
    caller = calling(**away)
    code, state = readyz(caller)
    assert state["status"] == word
    assert code == (503 if word == "unavailable" else 200)
    reply = caller.post(body())
    assert (reply.json.get("code") == "NOT_STORED") is (word == "unavailable")
    assert "127.0.0.1" not in caller.get("/readyz").text


@pytest.mark.parametrize(
    ("mode", "state", "can_take"),
    [
        ("auto", {"redis": "up"}, True),
        ("auto", {"redis": "up", "redis_risk": "is a replica"}, False),
        ("auto", {"redis": "up", "redis_is_full": True}, False),
        ("auto", {"redis": "down"}, False),
        ("stream", {"redis": "up", "redis_risk": "is a replica"}, True),
        ("stream", {"redis": "up", "redis_is_full": True}, False),
        ("stream", {"redis": "down"}, False),
        ("store", {"redis": "up"}, False),
        ("store", {"postgres": "up"}, True),
        ("store", {"spool_has_room": True}, True),
    ],
)
def test_a_journal_counts_only_where_the_intake_would_ask_it(mode, state, can_take):
    nothing = Status(redis="down", postgres="down", spool_has_room=False)
    assert replace(nothing, **state).can_take(mode) is can_take


def test_what_waits_in_the_spool_is_told(calling):
    caller = calling(database_url=NO_POSTGRES, redis_url=NO_REDIS)
    caller.post(body())
    _, state = readyz(caller)
    assert state["spool"]["batches"] == 1
    assert state["backlog"] is None


def test_metrics_want_the_token(calling):
    assert calling().get("/metrics").status_code == 404
    caller = calling(metrics_token="right")
    assert caller.get("/metrics").json["code"] == "UNAUTHORIZED"
    for shown in ("Bearer wrong", "right\u00e9", ""):
        reply = caller.get("/metrics", headers={"Authorization": shown})
        assert reply.status_code == 401


def test_metrics_count_every_event_once(calling):
    caller = calling(metrics_token="right")
    twice = event()
    caller.post(body(event(), twice, twice, event(timestamp=None)))
    caller.post(body(), query_string="")
    caller.extensions["intake"].report()
    reply = caller.get("/metrics", headers={"Authorization": "Bearer right"})
    assert reply.content_type.startswith("text/plain; version=0.0.4")
    numbers = dict(
        line.rsplit(" ", 1) for line in reply.text.splitlines() if not line.startswith("#")
    )
    assert {name: value for name, value in numbers.items() if "events_total" in name} == {
        'genlook_events_total{outcome="received"}': "4",
        'genlook_events_total{outcome="accepted"}': "2",
        'genlook_events_total{outcome="duplicate"}': "1",
        'genlook_events_total{outcome="rejected"}': "1",
        'genlook_events_total{outcome="rate_limited"}': "0",
        'genlook_events_total{outcome="not_stored"}': "0",
    }
    assert numbers['genlook_incidents_total{kind="signature:missing:shop"}'] == "1"
    assert numbers['genlook_up{server="redis"}'] == "1"
    assert numbers["genlook_backlog_batches"] == "1"


def test_what_is_left_alone_is_told_to_all(calling):
    away = calling(intake="store", database_url=NO_POSTGRES)
    away.post(body())
    away.extensions["intake"].report()
    _, state = readyz(calling())
    assert list(state["paused"]) == ["store"]
    assert state["status"] == "degraded"


@pytest.mark.slow
def test_the_status_is_told_in_a_terminal(calling, settings):
    caller = calling()
    caller.post(body(event(), event()))
    drain(settings)
    caller.post(body())
    told = flask(settings, "status")
    assert told.returncode == 0, told.stderr
    lines = {" ".join(line.split()) for line in told.stdout.splitlines()}
    assert "postgres up" in lines
    assert "redis up, keeps an append-only file" in lines
    assert any(line.startswith("backlog 1 batches, the oldest for") for line in lines)
    assert "spool empty" in lines
    assert any(line.startswith("worker drain, seen") for line in lines)
    assert "last day 3 accepted" in lines


@pytest.mark.slow
def test_the_status_of_a_system_that_is_down_is_told_all_the_same(settings):
    told = flask(
        settings, "status", DATABASE_URL=NO_POSTGRES, REDIS_URL=NO_REDIS, SPOOL_DIR=NO_FOLDER
    )
    assert told.returncode == 1
    assert "No batch could be taken" in told.stderr
    assert "Traceback" not in told.stderr


@pytest.mark.slow
def test_what_waits_for_a_newer_release_is_told_and_is_no_worker(calling, settings, redis_client):
    caller = calling()
    caller.post(body())
    [(entry, fields)] = redis_client.xrange("{t0}:stream")
    redis_client.xdel("{t0}:stream", entry)
    redis_client.xadd("{t0}:stream", {**fields, b"batch": fields[b"batch"] + b"\tmore"})
    drain(settings)
    state = readyz(caller)[1]
    assert (state["status"], state["newer_batches"], state["backlog"]["batches"]) == ("ok", 1, 1)
    status = flask(settings, "status").stdout
    assert "1 batches of a newer release wait for its worker" in status
    assert "worker       newer:" not in status
    assert "run a worker of that one" in flask(settings, "check").stdout
