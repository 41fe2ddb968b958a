"""How the counts keep up with what is stored."""

import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from app.counts import counting, journeys, rollups
from app.counts.period import EPOCH, Period, find_shop
from app.counts.rollups import count_new, forget_deleted, rebuild
from app.dev.seed import Seed
from app.merchant.preferences import change
from app.merchant.reports import freshness, kept_before, report
from app.store import migrate as migrations
from app.store import news
from app.store.connections import connect
from app.worker.reporting import Reporting
from tests.calls import SHOP
from tests.counts.histories import NOON, count_all, store, visit
from tests.processes.running import wait_until

OTHER = "b.myshopify.com"
ONE_DAY = Period(NOON.date(), NOON.date())


def entered(database):
    return report(database, find_shop(database, SHOP), ONE_DAY, "product")["funnel"][0]["visitors"]


def test_a_transaction_that_commits_after_a_later_one_is_counted(database, database_url):
    store(database, visit("first", 1))
    with connect(database_url, "slow") as slow:
        with slow.transaction():
            store(slow, visit("slow", 1))
            store(database, visit("fast", 1))
            count_all(database)
            assert entered(database) == 2
        count_all(database)
        assert entered(database) == 3


def test_what_fails_in_the_middle_is_counted_once_by_the_next_try(database, monkeypatch):
    store(database, visit("a", 3), visit("b", 1))

    def fail(*_):
        raise psycopg.OperationalError("gone")

    with monkeypatch.context() as broken:
        broken.setattr(counting, "add_cells", fail)
        with pytest.raises(psycopg.OperationalError):
            count_new(database)
    assert freshness(database, find_shop(database, SHOP))["waiting"] == 2
    count_all(database)
    assert entered(database) == 2


def test_two_workers_count_everything_once(database, database_url):
    for number in range(60):
        store(database, visit(f"v{number}", 2), visit(f"v{number}", 1, minutes=30))

    def count_along():
        with connect(database_url, "other") as connection:
            for _ in range(20):
                count_new(connection)

    threads = [threading.Thread(target=count_along) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    count_all(database)
    assert entered(database) == 60


@pytest.mark.one_postgres  # on Citus the second one waits for the first one's commit
def test_two_workers_count_different_shops_at_the_same_time(database, database_url, one_at_a_time):
    for number in range(3):
        for shop in (SHOP, OTHER):
            store(database, visit(f"v{number}", 2, shop=shop))
    waiting = "SELECT count(*) FROM report_news GROUP BY shop_id ORDER BY shop_id"
    with connect(database_url, "one") as one, connect(database_url, "other") as other:
        with one.transaction():
            assert rollups.count_next(one)
            with other.transaction():
                assert rollups.count_next(other)
            assert database.execute(waiting).fetchall() == [(3,), (2,)]
            with connect(database_url, "third") as third, third.transaction():
                assert rollups.count_next(third)  # of the shop that is free again
        assert database.execute(waiting).fetchall() == [(2,), (1,)]
    count_all(database)
    assert entered(database) == 3


def test_the_shop_that_has_waited_longest_is_counted_first(database, one_at_a_time):
    for shop in (OTHER, SHOP, OTHER):
        store(database, visit("a", 2, shop=shop))
    for left in ([SHOP, OTHER], [OTHER], []):
        assert rollups.count_next(database)
        assert database.execute(
            "SELECT domain FROM report_news r JOIN shops ON shops.id = shop_id ORDER BY r.id"
        ).fetchall() == [(shop,) for shop in left]


def test_of_many_shops_the_oldest_hundred_are_counted_at_once(database):
    store(database, *(visit(f"v{n}", 1, shop=f"shop-{n:03}.myshopify.com") for n in range(103)))
    assert rollups.count_next(database)
    assert database.execute("SELECT count(*) FROM report_news").fetchone() == (3,)


@pytest.mark.slow
def test_the_workers_thread_counts_and_goes_on_after_a_failure(database, database_url, monkeypatch):
    monkeypatch.setattr(Reporting, "first_pause", 0.1)
    monkeypatch.setattr("app.worker.reporting.EVERY", 0.1)
    connections = iter([psycopg.OperationalError("away")])

    def connect_or_fail():
        for failure in connections:
            raise failure
        return connect(database_url, "reporting")

    store(database, visit("a", 1))
    stop = threading.Event()
    thread = Reporting(connect_or_fail).start(stop)
    wait_until(lambda: freshness(database, find_shop(database, SHOP))["waiting"] == 0)
    store(database, visit("b", 1))
    wait_until(lambda: entered(database) == 2)
    stop.set()
    thread.join(5)
    assert not thread.is_alive()


def test_what_waits_to_be_stored_is_not_counted_yet(database):
    store(database, visit("a", 1))
    count_all(database)
    shop = find_shop(database, SHOP)
    for seconds, is_behind in ((None, False), (1, False), (100, True)):
        fresh = freshness(database, shop, oldest_waiting=seconds)
        age = datetime.now(UTC) - datetime.fromisoformat(fresh["until"])
        assert abs(age - timedelta(seconds=seconds or 0)) < timedelta(seconds=5)
        assert fresh["is_behind"] is is_behind


def test_what_is_kept_of_visitors_goes_with_the_events_and_the_totals_stay(database):
    store(database, visit("old", 7), visit("both", 2), visit("both", 3, minutes=3 * 24 * 60))
    count_all(database)
    next_day = NOON + timedelta(days=1)
    assert forget_deleted(database, next_day) == 0  # it is still stored, in the DEFAULT partition
    database.execute("DELETE FROM events WHERE occurred_at < %s", [next_day])
    assert forget_deleted(database, next_day) == 2
    assert database.execute("SELECT length(events) FROM report_visitors").fetchall() == [(3 * 29,)]
    assert entered(database) == 2
    store(database, visit("both", 5, minutes=4 * 24 * 60))
    count_all(database)
    later = Period(ONE_DAY.first + timedelta(days=1), ONE_DAY.first + timedelta(days=9))
    shown = report(database, find_shop(database, SHOP), later, "product")
    assert [step["visitors"] for step in shown["funnel"]] == [1, 1, 1, 1, 1, 0, 0]


@pytest.fixture
def with_old_days(database):
    """Counted; then the first day's events are deleted by retention. Returns that day's report."""
    store(database, visit("old", 3), visit("both", 2), visit("both", 1, minutes=2 * 24 * 60))
    count_all(database)
    next_day = NOON + timedelta(hours=12)
    database.execute("DELETE FROM events WHERE occurred_at < %s", [next_day])
    forget_deleted(database, next_day)
    return report(database, find_shop(database, SHOP), ONE_DAY, "product")


def test_days_without_events_keep_their_numbers_where_a_shop_is_counted_again(
    database, with_old_days
):
    shop = find_shop(database, SHOP)
    assert kept_before(database, shop) == "2026-03-11"
    change(database, SHOP, time_zone="UTC", window_hours=72)
    store(database, visit("new", 1, minutes=3 * 24 * 60))
    count_all(database)
    shop = find_shop(database, SHOP)
    after = report(database, shop, ONE_DAY, "product")
    assert after["funnel"] == with_old_days["funnel"]
    assert after["breakdown"] == with_old_days["breakdown"]
    assert [step["visitors"] for step in after["funnel"]][:3] == [2, 2, 1]
    # Who came before and after is counted twice in a range with both.
    week = Period(ONE_DAY.first, ONE_DAY.first + timedelta(days=6))
    assert report(database, shop, week, "product")["visitors"]["now"] == 4


def test_an_old_event_that_is_still_stored_is_not_added_to_a_kept_day_twice(
    database, with_old_days
):
    store(database, visit("late", 1, minutes=30))
    count_all(database)
    shown = [entered(database)]
    for _ in range(2):
        rebuild(database, find_shop(database, SHOP).id)
        shown.append(entered(database))
    assert shown == [3, 3, 3]


def test_a_shop_that_is_erased_keeps_no_day(database, with_old_days):
    shop_id = find_shop(database, SHOP).id
    rollups.keep_no_days(database, shop_id)
    rebuild(database, shop_id)
    assert entered(database) == 0


def test_a_day_that_was_deleted_in_part_is_kept_in_the_shops_zone(database):
    change(database, SHOP, time_zone="America/Los_Angeles", window_hours=24)
    store(database, visit("a", 1))
    count_all(database)
    begin = NOON.replace(hour=0) + timedelta(days=1)  # 17:00 of the 10th there
    database.execute("DELETE FROM events")
    forget_deleted(database, begin)
    assert kept_before(database, find_shop(database, SHOP)) == "2026-03-11"


@pytest.mark.one_postgres  # a trigger's work
@pytest.mark.parametrize(("module", "name"), [(rollups, "COUNTED"), (news, "DEFINITION")])
def test_what_a_release_counts_or_announces_otherwise_is_counted_again(
    database, monkeypatch, module, name
):
    with monkeypatch.context() as older:
        older.setattr(module, name, 1)
        store(database, visit("a", 2))
        while rollups.count_next(database):
            pass
    shop = find_shop(database, SHOP)
    assert freshness(database, shop)["is_recounting"]
    count_all(database)
    assert not freshness(database, shop)["is_recounting"]
    assert entered(database) == 1


def test_the_upgrade_has_all_shops_counted_and_finds_the_days_that_were_deleted(database):
    store(database, visit("a", 1), visit("a", 1, minutes=-24 * 60), visit("b", 2, shop=OTHER))
    count_all(database)
    database.execute("DELETE FROM events WHERE occurred_at < %s", [NOON])
    sql = (Path(migrations.__file__).parent / "migrations/0031_counted_alike.sql").read_text()
    for statement in sql.split(";\n"):
        if "INSERT INTO report_kept" in statement:
            database.execute(statement.encode())
    kept = database.execute("SELECT domain, before FROM report_kept JOIN shops ON id = shop_id")
    assert kept.fetchall() == [(SHOP, (NOON.date() - EPOCH).days)]


def test_a_robots_events_count_as_events_only_also_after_a_rebuild(database, monkeypatch):
    monkeypatch.setattr(journeys, "MOST_EVENTS", 10)
    store(database, visit("robot", 7), visit("a", 2))
    count_all(database)
    assert entered(database) == 2
    store(database, visit("robot", 4, minutes=30))
    count_all(database)
    for _ in range(2):
        shown = report(database, find_shop(database, SHOP), ONE_DAY, "product")
        assert shown["funnel"][0]["visitors"] == 1
        assert shown["events"]["now"] == 13
        rebuild(database, find_shop(database, SHOP).id)
    store(database, visit("robot", 1, minutes=50))
    count_all(database)
    assert entered(database) == 1


def test_an_erased_robot_leaves_the_numbers_too(database, monkeypatch):
    monkeypatch.setattr(journeys, "MOST_EVENTS", 10)
    store(database, visit("robot", 7), visit("robot", 7, minutes=30), visit("a", 2))
    count_all(database)
    with database.transaction():
        database.execute("DELETE FROM events USING batches b WHERE b.id = batch_id"
                         " AND b.client_id = 'robot'")  # fmt: skip
        rollups.mark_dirty(database, find_shop(database, SHOP).id, ["robot"])
    count_all(database)
    shown = report(database, find_shop(database, SHOP), ONE_DAY, "product")
    assert (shown["events"]["now"], shown["visitors"]["now"]) == (2, 1)


def test_a_rebuild_beside_a_worker_waits_for_it(database, database_url):
    store(database, visit("a", 3))
    shop_id = find_shop(database, SHOP).id
    with connect(database_url, "worker") as worker, connect(database_url, "rebuild") as other:
        with worker.transaction():
            rollups.try_lock(worker, shop_id)
            counting.count_announced(worker, [shop_id])
            rebuilding = threading.Thread(target=rebuild, args=(other, shop_id))
            rebuilding.start()
            time.sleep(0.3)
            assert rebuilding.is_alive()
        rebuilding.join(10)
    assert freshness(database, find_shop(database, SHOP))["is_recounting"] is False
    assert entered(database) == 1


def test_a_recount_whose_snapshot_is_too_old_gives_up_and_is_done_next_time(
    database, database_url, monkeypatch
):
    store(database, visit("a", 3), visit("b", 1))
    shop_id = find_shop(database, SHOP).id
    rollups.mark_dirty(database, shop_id)
    try_lock = rollups.try_lock

    def lock_late(connection, shop_id):
        connection.execute(
            "SELECT 1 FROM report_news WHERE shop_id = %s", [shop_id]
        )  # the snapshot
        with connect(database_url, "other") as other, other.transaction():
            try_lock(other, shop_id)
            counting.count_announced(other, [shop_id])
        return try_lock(connection, shop_id)

    with monkeypatch.context() as late:
        late.setattr(rollups, "try_lock", lock_late)
        assert not rollups.recount_next(database)
    assert rollups.is_dirty(database, shop_id)
    count_all(database)
    assert entered(database) == 2


def test_the_demo_year_is_the_same_each_time_and_ends_today(database):
    until = datetime(2026, 11, 23, 12, tzinfo=UTC)
    first, second = (list(Seed(SHOP, until=until).batches(2_000)) for _ in range(2))
    assert [batch.events for batch in first] == [batch.events for batch in second]
    events = sum(len(batch.events) for batch in first)
    assert 1_600 < events < 2_400
    store(database, *first)
    days = database.execute(
        "SELECT min(occurred_at), max(occurred_at) FROM tracked_events"
    ).fetchone()
    assert days[0] < until - timedelta(days=355)
    assert days[1].astimezone(UTC).date() == until.date()
    assert days[1] <= until


def test_where_nothing_waits_the_numbers_are_whole_until_now(database):
    store(database, visit("a", 1))
    count_all(database)
    before = datetime.now(UTC)
    until = freshness(database, find_shop(database, SHOP))["until"]
    assert before <= datetime.fromisoformat(until) <= datetime.now(UTC)


@pytest.mark.slow
def test_two_thousand_visitors_are_not_looked_for_among_all_of_the_shops(database):
    store(database, *(visit(f"v{number}", 1) for number in range(2_000)))
    database.execute(
        "INSERT INTO report_visitors SELECT id, md5(n::text)::uuid, '\\x'"
        " FROM shops, generate_series(1, 100000) n"
    )
    database.execute("ANALYZE report_visitors")
    before = rows_read_in_turn(database)
    count_all(database)
    assert rows_read_in_turn(database) == before


def rows_read_in_turn(database):
    database.execute("SELECT pg_stat_force_next_flush()")
    (number,) = database.execute(
        "SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'report_visitors'"
    ).fetchone()
    return number
