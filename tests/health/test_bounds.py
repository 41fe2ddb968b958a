"""`flask check` says which bound is nearest, and how far it is."""

import re
import time
from dataclasses import replace

import pytest

from app.health.bounds import Growth, bounds, describe
from app.health.check import OK, WARN, check
from app.health.status import Status
from app.intake import keys
from app.intake.memory import Memory
from app.intake.nodes import Nodes
from tests.calls import body, event
from tests.draining import drain


@pytest.fixture
def finding(settings, redis_client):
    """The one of a subject, with some settings changed; None where there is none."""

    def finding(subject, **changes):
        found = [one for one in check(replace(settings, **changes)) if one.subject == subject]
        return found[0] if found else None

    return finding


def test_the_nearest_bound_comes_first_with_its_distance(finding, caller, settings, redis_client):
    drain(settings)
    for _ in range(3):
        caller.post(body())
    found = finding("bounds", stream_max_batches=4)
    assert found.level == OK
    assert found.text.startswith("the nearest is the backlog 75% (3 of 4 batches), ")
    for name in (
        "Redis's memory ",
        "Postgres's connections ",
        "the reports 0% (0 s behind, of 60)",
    ):
        assert name in found.text
    caller.post(body())
    assert finding("bounds", stream_max_batches=4).level == WARN


def test_reports_that_are_behind_are_a_bound(finding, database, settings):
    drain(settings)
    database.execute(
        "INSERT INTO report_news (shop_id, written_at, batches, size, packed)"
        " VALUES (1, now() - interval '90 seconds', 1, 1, '')"
    )
    found = finding("bounds")
    assert found.level == WARN
    assert re.match(r"the nearest is the reports 1[56]\d% \(9\d s behind, of 60\)", found.text)


def test_it_says_by_how_much_the_disk_grows(finding, caller, database, settings, redis_client):
    drain(settings)
    assert finding("disk") is None  # nothing was accepted yet
    caller.post(body(*(event() for _ in range(50))))
    caller.rows()
    database.execute("ANALYZE events")
    [stored] = database.execute("SELECT pg_database_size(current_database())").fetchone()
    now = time.time()
    redis_client.hset(keys.counts(0, now - 86_400), "accepted", 50)
    days = 1 + now % 86_400 / 86_400
    a_day = 100 / days * stored / 50
    text = finding("disk", event_retention_days=10).text
    assert f"{stored / 1e6:.1f} MB stored" in text
    shown = float(text.split("stored, ")[1].split(" MB")[0])
    assert shown == pytest.approx(a_day / 1e6, rel=0.1)
    full = float(text.split("yesterday, ")[1].split(" MB")[0])
    assert full == pytest.approx(10 * shown, rel=0.01)


def test_where_redis_tells_no_backlog_none_waits(settings, database, redis_client):
    known = bounds(database, Nodes(redis_client), settings, Status(backlog=None))
    found = {one.name: one for one in known}
    assert found["the backlog"].text == "0 of 1,000,000 batches"
    assert found["the backlog"].share == 0


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0.0 MB"), (1_500_000, "1.5 MB"), (999_900_000, "999.9 MB"), (1e9, "1.0 GB"),
     (2.34e11, "234.0 GB"), (1e12, "1.0 TB"), (1.25e13, "12.5 TB")],
)  # fmt: skip
def test_bytes_are_told_in_their_largest_unit(size, text):
    assert describe(Growth(0, size, 0)).split(", ")[1].startswith(f"{text} more a day")


def test_the_fullest_node_stands_for_the_memory_and_one_without_a_limit_for_nothing(
    settings, database, redis_client, monkeypatch
):
    memories = iter([Memory(90, 300, True), Memory(50, 100, True), Memory(5, 0, False)])
    monkeypatch.setattr("app.health.bounds.memory_of", lambda node: next(memories))

    class Three:
        def all(self):
            return [redis_client] * 3

    [memory] = [
        one for one in bounds(database, Three(), settings, Status()) if "memory" in one.name
    ]
    assert (memory.used, memory.most) == (50, 100)
