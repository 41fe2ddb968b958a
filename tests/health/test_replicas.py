"""What `flask check` says of a replica, of clocks that differ, of a cluster that is not whole."""

import time

import pytest
from redis.exceptions import ClusterDownError

from app.health import check as checking
from app.health.check import FIX, OK, WARN
from app.intake.nodes import Nodes
from app.intake.redis_client import worker_client


def found(findings):
    return [(one.level, one.text) for one in findings]


@pytest.mark.parametrize(
    ("behind", "is_standby", "feedback", "expected"),
    [
        (0.4, True, "on", [(OK, "is 0 s behind the primary")]),
        (30.0, True, "on", [(OK, "is 30 s behind the primary")]),
        (30.6, True, "on", [(WARN, "is 31 s behind: see its log and the network")]),
        (0.0, False, "off", [(WARN, "REPORTS_DATABASE_URL is a primary, not a replica")]),
        (
            5.0, True, "off",
            [(OK, "is 5 s behind the primary"),
             (WARN, "hot_standby_feedback is off: long reports are ended and read from the"
                    " primary")],
        ),
    ],
)  # fmt: skip
def test_a_replica_is_told_by_how_far_it_is_behind(
    database_url, monkeypatch, behind, is_standby, feedback, expected
):
    monkeypatch.setattr(checking, "seconds_behind_primary", lambda connection: behind)
    monkeypatch.setattr(
        checking, "_value",
        lambda connection, statement: is_standby if "recovery" in statement else feedback,
    )  # fmt: skip
    assert found(checking._replica(database_url)) == expected


@pytest.mark.parametrize("ahead", [4.0, -4.0, 6.5, -6.5])
def test_a_clock_that_differs_from_a_server_s_is_told(
    settings, database, redis_client, monkeypatch, ahead
):
    real = time.time
    monkeypatch.setattr(checking.time, "time", lambda: real() + ahead)
    clocks = [one for one in checking.check(settings) if one.subject == "clock"]
    servers = ["Postgres's", "Redis's"] if abs(ahead) > 5 else []
    texts = [text.replace("by 7 s", "by 6 s") for level, text in found(clocks) if level == FIX]
    assert texts == [f"differs from {server} by 6 s: use NTP on both" for server in servers]


def test_a_cluster_that_is_not_whole_is_told(settings, redis_client, monkeypatch):
    def fail(self):
        raise ClusterDownError("Hash slot not served")

    monkeypatch.setattr(Nodes, "refresh", fail)
    with worker_client(settings) as client:
        told = found(checking._of_redis(Nodes(client), settings))
    assert told == [(FIX, "its cluster is not whole: see CLUSTER INFO on its nodes")]
