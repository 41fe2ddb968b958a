"""What one caller can make the counting cost (app/counts/README.md)."""

import re
import threading
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.batch.batch import Batch, Context, Event
from app.counts import calendar, rollups, values
from app.counts.cells import unpack
from app.counts.journeys import MOST_EVENTS
from app.counts.measures import Dimension
from app.counts.period import Period, find_shop
from app.counts.rollups import count_next, forget_deleted, mark_dirty, rebuild
from app.counts.times import PAGE_TO_CART
from app.counts.times import part as part_of
from app.merchant.commands import numbers_of, plain_numbers
from app.merchant.reports import report
from app.store import migrate
from app.store.connections import connect
from tests.bench.visits import product_lover, traveller
from tests.calls import SHOP
from tests.counts.histories import FUNNEL, NOON, PAGE, batch, count_all, store, visit
from tests.counts.test_exact import cells

ONE_DAY = Period(NOON.date(), NOON.date())
OTHER_SHOP = "other.myshopify.com"


def shown(database, by="product", period=ONE_DAY, shop=SHOP):
    return report(database, find_shop(database, shop), period, by)


def entered(database, shop=SHOP):
    return shown(database, shop=shop)["funnel"][0]["visitors"]


@pytest.mark.slow
def test_one_more_event_of_a_visitor_at_the_bound_takes_milliseconds(database):
    for history in (
        product_lover(MOST_EVENTS - 1, client="a", shop=SHOP),
        traveller(MOST_EVENTS - 1, days=390, client="b", shop=SHOP),
    ):
        store(database, *history)
        count_all(database)
        store(database, *product_lover(1, client=history[0].line.split(b"\t")[2].decode(),
                                       shop=SHOP, seed=9))  # fmt: skip
        began = time.process_time()
        count_all(database)
        assert time.process_time() - began < 0.1  # on a busy machine; one tenth on a quiet one
        # Uncompressed: it is written again with each event.
        kept = "SELECT octet_length(events), pg_column_compression(events) FROM report_visitors"
        assert set(database.execute(kept)) == {(MOST_EVENTS * 29, None)}


def test_of_a_robot_nothing_is_kept_and_no_value_of_its_is_numbered(database):
    store(database, *product_lover(MOST_EVENTS + 1, shop=SHOP))
    count_all(database)
    store(database, *product_lover(50, shop=SHOP, seed=5))
    count_all(database)
    assert database.execute("SELECT events FROM report_visitors").fetchall() == [(b"",)]
    assert database.execute("SELECT count(*) FROM report_values").fetchone() == (0,)
    today = datetime.now(UTC).date()
    period = Period(today - timedelta(days=1), today)
    assert shown(database, period=period)["events"]["now"] == MOST_EVENTS + 51
    assert shown(database, period=period)["visitors"]["now"] == 0


def test_products_beyond_the_most_of_a_shop_are_counted_together(database, monkeypatch):
    monkeypatch.setitem(values.MOST, Dimension.PRODUCT, 3)
    for number in range(5):
        store(database, visit(f"v{number}", 2, product_id=f"p{number}"))
        count_all(database)
    breakdown = shown(database)["breakdown"]
    assert {group["value"] for group in breakdown["groups"]} == {"p0", "p1", "p2"}
    assert breakdown["folded"] == {"groups": 1, "visitors": 2, "steps": [2, 2, 0, 0, 0, 0, 0]}


def test_names_of_events_that_callers_make_up_take_no_room(database):
    store(database, batch("a", *((f"made:up_{number}", number) for number in range(50))))
    count_all(database)
    assert database.execute("SELECT count(*) FROM report_counts").fetchone()[0] < 10
    assert shown(database)["events"]["now"] == 50


def late_batch(visitor, *, days, product="p"):
    """Whose first event happened so many days before the second, when it was received."""
    return batch(visitor, (PAGE, NOON - timedelta(days=days)), (FUNNEL[4], 0), product_id=product)


@pytest.mark.parametrize(("days", "visitors"), [(1461, 1), (1462, 0)])
def test_what_comes_years_late_counts_as_an_event_only(database, days, visitors):
    store(database, late_batch("a", days=days))
    count_all(database)
    day = (NOON - timedelta(days=days)).date()
    then = Period(day, day)
    shop = find_shop(database, SHOP)
    for _ in range(2):
        counted = shown(database, period=then)
        assert counted["visitors"]["now"] == visitors
        assert counted["events"]["now"] == 1
        assert numbers_of(counted) == plain_numbers(database, shop, then)
        assert entered(database) == 0
        assert shown(database)["visitors"]["now"] == 1
        rebuild(database, shop.id)


def test_an_erased_visitors_late_events_leave_the_numbers_too(database):
    store(database, late_batch("a", days=2000), late_batch("b", days=2000))
    count_all(database)
    with database.transaction():
        database.execute("DELETE FROM events USING batches b WHERE b.id = batch_id"
                         " AND b.client_id = 'a'")  # fmt: skip
        mark_dirty(database, find_shop(database, SHOP).id, ["a"])
    count_all(database)
    day = (NOON - timedelta(days=2000)).date()
    assert shown(database, period=Period(day, day))["events"]["now"] == 1


def test_the_oldest_days_go_when_nothing_of_them_is_stored(database):
    long_ago = NOON - timedelta(days=1300)
    store(database, late_batch("a", days=1300), visit("b", 1))
    count_all(database)
    begin = NOON - timedelta(days=395)
    day = Period(long_ago.date(), long_ago.date())
    forget_deleted(database, begin)
    assert shown(database, period=day)["events"]["now"] == 1
    database.execute("DELETE FROM events WHERE occurred_at < %s", [begin])
    forget_deleted(database, begin)
    assert shown(database, period=day)["events"]["now"] == 0
    assert entered(database) == 1


@pytest.mark.parametrize(("days", "left"), [(801, 1), (802, 0)])
def test_numbers_stay_as_long_as_a_report_can_compare_with_them(database, days, left):
    store(database, late_batch("a", days=days))
    count_all(database)
    database.execute("DELETE FROM events")
    forget_deleted(database, NOON.replace(hour=0))
    day = (NOON - timedelta(days=days)).date()
    assert shown(database, period=Period(day, day))["events"]["now"] == left


def test_what_waits_is_taken_in_bounded_parts(database, one_at_a_time):
    for number in range(3):
        store(database, visit(f"v{number}", 2))
    assert count_next(database)
    assert database.execute("SELECT count(*) FROM report_news").fetchone() == (2,)
    count_all(database)
    assert entered(database) == 3


def test_one_transaction_of_many_events_is_announced_in_parts(database):
    store(database, *(batch(f"v{n}", *((PAGE, m) for m in range(50))) for n in range(60)))
    sizes = database.execute("SELECT batches FROM report_news ORDER BY id").fetchall()
    assert sizes == [(20,), (20,), (20,)]


def test_visitors_with_long_journeys_are_read_one_part_after_the_other(database, monkeypatch):
    monkeypatch.setattr("app.counts.journeys._AT_ONCE", 2)
    for minutes in (0, 200):
        store(database, *(batch(f"v{n}", *((PAGE, minutes + m) for m in range(100)))
                          for n in range(5)), visit("short", 1, minutes=minutes))  # fmt: skip
        count_all(database)
    assert entered(database) == 6
    assert shown(database)["events"]["now"] == 1002
    rows = database.execute("SELECT octet_length(events) / 29 FROM report_visitors ORDER BY 1")
    assert [number for (number,) in rows] == [2, 200, 200, 200, 200, 200]


def test_a_shop_that_somebody_counts_delays_no_other(database, database_url):
    store(database, visit("a", 1), visit("b", 1, shop=OTHER_SHOP))
    with connect(database_url, "worker") as worker, worker.transaction():
        assert rollups.try_lock(worker, find_shop(database, SHOP).id)
        count_all(database)
        assert entered(database, OTHER_SHOP) == 1
        assert entered(database) == 0
    count_all(database)
    assert entered(database) == 1


def test_others_are_counted_while_a_shop_is_rebuilt(database, database_url):
    store(database, visit("a", 1))
    shop_id = find_shop(database, SHOP).id
    began, ends = threading.Event(), threading.Event()

    def progress(_):
        began.set()
        ends.wait(20)

    def rebuild_slowly():
        with closing(connect(database_url, "rebuild")) as connection:
            rebuild(connection, shop_id, progress)

    thread = threading.Thread(target=rebuild_slowly)
    thread.start()
    began.wait(20)
    store(database, visit("b", 1, shop=OTHER_SHOP), visit("c", 1))
    while count_next(database):
        pass
    assert entered(database, OTHER_SHOP) == 1
    ends.set()
    thread.join(20)
    count_all(database)
    assert entered(database) == 2


def test_what_is_new_waits_a_moment_for_more_of_the_same_visits(database):
    store(database, visit("a", 1))
    assert not count_next(database, quiet=60, longest=60)
    assert entered(database) == 0
    database.execute("UPDATE report_news SET written_at = now() - interval '61 s'")
    assert count_next(database, quiet=60, longest=60)
    assert entered(database) == 1


@pytest.mark.one_postgres  # it asks for the sizes of its own tables
@pytest.mark.slow
@pytest.mark.parametrize("make", [
    lambda n: traveller(50, days=390, client=f"t{n}", seed=n, shop=SHOP),
    lambda n: product_lover(50, client=f"p{n}", seed=n, shop=SHOP),
])  # fmt: skip
def test_cells_and_journeys_take_at_most_400_bytes_an_event(database, make):
    store(database, *(batch for number in range(200) for batch in make(number)))
    count_all(database)
    database.execute("VACUUM FULL")

    def size(pattern):
        return database.execute(
            # Without the maps of a VACUUM that may come in between.
            "SELECT sum(pg_relation_size(oid) + pg_indexes_size(oid)"
            " + coalesce(pg_relation_size(nullif(reltoastrelid, 0)), 0))"
            " FROM pg_class WHERE relkind = 'r'"
            " AND pg_table_is_visible(oid) AND pg_relation_size(oid) > 0 AND relname ~ %s",
            [pattern],
        ).fetchone()[0]

    assert size("^report_") < 400 * database.execute("SELECT count(*) FROM events").fetchone()[0]


def test_what_a_release_before_announces_and_marks_is_counted(database):
    store(database, visit("a", 1))
    shop = find_shop(database, SHOP)
    database.execute("DELETE FROM report_news")
    database.execute(
        "INSERT INTO unreported_batches (batch_ids, shop_ids, first_at, last_at)"
        " VALUES ('{1}', %s, '{now}', '{now}')",
        [[shop.id]],
    )
    count_all(database)
    assert entered(database) == 1
    database.execute("DELETE FROM events")
    database.execute("INSERT INTO report_dirty (shop_id) VALUES (%s)", [shop.id])
    count_all(database)
    assert entered(database) == 0


def in_the_form_before(dimension, day, part, value, measure, previous, number):
    """A row of report_cells: dimension, measure, value_id, previous, day, number."""
    if dimension == Dimension.FINE:
        return 0, part // 64 * 1_000_000 + value, 0, previous, day, number
    if dimension == Dimension.COARSE:
        return 0, 10_000 + 1_000 * value + measure, 0, previous, day, number
    if dimension == Dimension.EVENT:
        return dimension, measure, 1, day, day, number
    return dimension, measure, part + value, previous, day, number


def test_an_upgrade_brings_the_numbers_of_the_form_before(database):
    for minutes in (0, 24 * 60):
        for steps in range(1, 8):
            store(database, visit(f"v{steps}", steps, minutes=minutes, product_id=f"p{steps % 3}"))
    count_all(database)
    # It had no times of spans.
    database.execute(
        "DELETE FROM report_counts WHERE dimension = %s OR dimension = %s AND part >= %s",
        [Dimension.SPAN, Dimension.FINE, part_of(PAGE_TO_CART, 0)],
    )
    shop = find_shop(database, SHOP)
    counted = cells(database, shop)
    for dimension, day, part, packed in database.execute(
        "SELECT dimension, day, part, cells FROM report_counts"
    ).fetchall():
        for cell in unpack(packed):
            database.execute(
                "INSERT INTO report_cells (shop_id, dimension, measure, value_id, previous, day,"
                " number) VALUES (%s, %s, %s, %s, %s, %s, %s)",
                [shop.id, *in_the_form_before(dimension, day, part, *cell)],
            )
    database.execute("DELETE FROM report_counts")
    migration = Path(migrate.__file__).with_name("migrations") / "0030_counts_by_shop.sql"
    [statement] = re.findall(r"INSERT INTO report_counts .*?;", migration.read_text(), re.DOTALL)
    database.execute(statement)
    assert cells(database, shop) == counted


odd = st.text(
    st.one_of(st.sampled_from('\\\t\n\r"{}:,-N$'), st.characters(exclude_categories=["Cs", "Cc"])),
    max_size=12,
)


@pytest.mark.slow
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(odd, odd, odd, st.one_of(odd, st.integers(-5, 5), st.booleans(), st.lists(odd)), odd)
def test_counted_from_its_announcement_or_from_the_tables_it_is_the_same(
    module_database, visitor, product, language, own, key
):
    database, name = module_database, "odd.myshopify.com"
    context = orjson.dumps({key: {"$browser_language": own}, "$browser_language": language})
    properties = orjson.dumps({"product_id": own, key: [product]})
    columns = {"client_id": visitor, "session_id": "s", "lib_version": language,
               "product_id": product}  # fmt: skip
    sent = Batch.build(shop=name, customer_id=None, received_at=NOON,
                       context=Context(columns, context),
                       events=[Event(PAGE, str(uuid4()), NOON, properties, b"{}")],
                       rejected=[])  # fmt: skip
    database.execute("DELETE FROM events")
    database.execute("INSERT INTO shops (domain) VALUES (%s) ON CONFLICT DO NOTHING", [name])
    shop = find_shop(database, name)
    rebuild(database, shop.id)
    store(database, sent)
    count_all(database)
    counted = cells(database, shop)
    assert counted
    rebuild(database, shop.id)
    assert cells(database, shop) == counted


@given(
    st.lists(st.integers(0, 60 * 365 * 24 * 3600 * 10**6), min_size=1, max_size=20),
    st.sampled_from(["Europe/Berlin", "Asia/Kathmandu", "Africa/Monrovia", "America/St_Johns"]),
)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_days_are_those_that_postgres_tells(module_database, moments, zone):
    plainly = dict(
        module_database.execute(
            "SELECT at, ((timestamptz 'epoch' + at * interval '1 microsecond')"
            " AT TIME ZONE %s)::date - date '1970-01-01' FROM unnest(%s::bigint[]) AS at",
            [zone, moments],
        ).fetchall()
    )
    assert calendar.days(module_database, zone, moments) == plainly
