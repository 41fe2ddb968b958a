"""How soon each of the worker's duties is at work again."""

import os
from contextlib import closing
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from redis import ConnectionError as RedisIsAway

from app.intake.nodes import Nodes
from app.metrics.process import HOST
from app.metrics.reporter import Reporter
from app.privacy.waiting import Journals
from app.privacy.work import Work
from app.store.connections import connect
from app.worker import consumer as consumer_module
from app.worker.consumer import Entry
from app.worker.consuming import Consuming, Everywhere, consumer_name, is_dead_predecessor
from app.worker.housekeeping import Housekeeping
from app.worker.reporting import Recounting, Reporting
from app.worker.upkeep import Retention
from tests.calls import SHOP
from tests.counts.histories import store, visit
from tests.pauses import Pauses


def away():
    raise psycopg.OperationalError("connection refused")


class NoRedis:
    def info(self, section):
        raise ConnectionRefusedError


class NoConsumer:
    def let_go(self):
        pass


@pytest.mark.parametrize(
    ("name", "pauses"),
    [
        ("worker", [0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]),
        ("housekeeping", [0.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]),
        ("reporting", [0.0, *[10.0] * 7]),
        ("recounting", [0.0, *[10.0] * 7]),
    ],
)
def test_what_is_away_is_asked_for_ever_more_seldom_up_to_a_bound(settings, name, pauses):
    stop = Pauses(8)
    with closing(Journals.of(settings)) as journals:
        days = Retention(events=1, rejected=1, user_agents=1)
        duties = [Consuming(NoConsumer(), NoRedis(), stop), Reporting(away), Recounting(away),
                  Housekeeping(away, Work(journals), days)]  # fmt: skip
        [duty] = [one for one in duties if one.name == name]
        duty.run(stop)
    assert stop.noted == pauses


def test_only_an_outage_is_waited_out_by_the_one_who_stores():
    class Faulty:
        def info(self, section):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Consuming(NoConsumer(), Faulty(), Pauses()).run(Pauses())


def wrote(database, *seconds_ago):
    """An announcement each so long ago."""
    database.execute("DELETE FROM report_news")
    for number, seconds in enumerate(seconds_ago):
        store(database, visit(f"v{number}", 1))
        database.execute(
            "UPDATE report_news SET written_at = %s WHERE id = (SELECT max(id) FROM report_news)",
            [datetime.now(UTC) - timedelta(seconds=seconds)],
        )


def test_a_shop_is_counted_once_it_is_quiet_or_the_oldest_has_waited_four_seconds(
    database_url, database
):
    reporting = Reporting(lambda: connect(database_url, "tests"))
    with closing(reporting._own):
        assert reporting.step() == 1.0
        for ages, pause in (
            ((0,), 1.0), ((1.5,), 1.0), ((2.1,), 0.0), ((3.5, 0), 1.0), ((4.1, 0), 0.0),
            ((3.5, 2.1), 0.0),
        ):  # fmt: skip
            wrote(database, *ages)
            assert reporting.step() == pause
            assert bool(database.execute("SELECT 1 FROM report_news").fetchone()) == (pause > 0)
        assert reporting.step() == 1.0


def test_much_is_counted_at_once(database_url, database):
    """Four megabytes of announcements of a shop: no more are counted at once."""
    reporting = Reporting(lambda: connect(database_url, "tests"))
    with closing(reporting._own):
        store(database, visit("a", 1))
        for size, pause in ((4 * 1024 * 1024, 1.0), (4 * 1024 * 1024 + 1, 0.0)):
            database.execute("UPDATE report_news SET size = %s", [size])
            assert reporting.step() == pause


def test_a_marked_shop_is_recounted_without_a_pause(database_url, database):
    recounting = Recounting(lambda: connect(database_url, "tests"))
    with closing(recounting._own):
        assert recounting.step() == 1.0
        store(database, visit("a", 1))
        database.execute(
            "INSERT INTO report_marks (shop_id, visitor) SELECT id, NULL FROM shops"
            " WHERE domain = %s", [SHOP],
        )  # fmt: skip
        assert [recounting.step(), recounting.step()] == [0.0, 1.0]


def test_the_pace_of_a_process_that_tells_of_itself(redis_client):
    reporter = Reporter(Nodes(redis_client), [], kind="web", revision="")
    reporter._stop = Pauses(4)
    reporter._run()
    assert reporter._stop.noted == [5.0] * 5


def test_the_map_is_looked_at_twice_a_second_and_streams_are_searched_every_five(monkeypatch):
    now, searched = [1_000.0], []
    monkeypatch.setattr("app.worker.consuming.time.monotonic", lambda: now[0])

    class SomeNodes:
        looks = 0

        def refresh(self):
            self.looks += 1
            if self.looks == 4:
                raise RedisIsAway

        def partitions(self):
            searched.append(now[0])
            return [7]

        def by_node(self, partitions):
            self.asked = list(partitions)
            return {}

    def pass_(seconds):
        now[0] += seconds

    nodes, stop = SomeNodes(), Pauses(23, pass_)
    everywhere = Everywhere(nodes, None, partitions=2)
    assert everywhere.streams("any") == []
    everywhere.run(stop)
    assert set(stop.noted) == {0.5}
    assert nodes.looks == 23
    assert nodes.asked == [0, 1, 7]
    assert searched == [1_000.0, 1_005.0, 1_010.0]


@pytest.mark.parametrize(
    ("sizes", "is_enough"),
    [([1] * 999, False), ([1] * 1_000, True), ([4 * 1024 * 1024 - 1], False),
     ([4 * 1024 * 1024], True), ([2 * 1024 * 1024] * 2, True), ([], False)],
)  # fmt: skip
def test_a_transaction_is_of_a_thousand_entries_or_four_megabytes(sizes, is_enough):
    entries = [Entry("stream", b"1-1", {}, size) for size in sizes]
    assert consumer_module._is_enough(entries) is is_enough


@pytest.mark.parametrize(
    ("name", "is_dead"),
    [
        pytest.param(f"{HOST}-{os.getpid()}", False, id="this process"),
        (f"{HOST}-1", False),  # another user's, perhaps
        (f"{HOST}-{2**22 + 1}", True),  # beyond the ids that there are
        (f"elsewhere-{2**22 + 1}", False),
        (f"{HOST}-x", False),
        (HOST, False),
    ],
    ids=["itself", "the first", "ended", "elsewhere", "no number", "no process"],
)
def test_only_a_process_of_this_machine_is_known_to_have_ended(name, is_dead):
    assert is_dead_predecessor(name) is is_dead
    assert is_dead_predecessor(consumer_name()) is False
