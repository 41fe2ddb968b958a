"""The page's numbers are those of a plain count over `tracked_events`, whatever has happened."""

import itertools
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from unittest.mock import patch
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.batch.batch import Batch, Context, Event
from app.batch.visitor import named
from app.counts import journeys
from app.counts.cells import unpack
from app.counts.measures import SIDE_STEPS
from app.counts.period import Period, find_shop
from app.counts.rollups import count_new, mark_dirty, rebuild
from app.merchant import tables
from app.merchant.commands import numbers_of, plain_numbers
from app.merchant.groups import BREAKDOWNS, Choice
from app.merchant.reports import report
from tests.counts.histories import CART_ADD, FUNNEL, PAGE, batch, store

_shops = itertools.count()

START = datetime(2026, 3, 27, tzinfo=UTC)
STARTS = [START, datetime(2026, 10, 22, tzinfo=UTC)]  # with summer time's begin and end in them
names = st.sampled_from((*FUNNEL, *FUNNEL, PAGE, CART_ADD, *SIDE_STEPS, "widget:zoomed"))
# Close together, so that they fall on the same minute, on both sides of midnight and of the window.
times = st.one_of(
    st.integers(0, 5 * 24 * 12).map(lambda n: timedelta(minutes=5 * n)),
    st.integers(0, 3 * 24 * 60 * 60).map(lambda n: timedelta(seconds=n)),
)
visitors = st.sampled_from(["a", "a", "b", "b", "c", None, "undefined"])
# What else a batch is sent with: of people twice as often as of anything else.
kinds = st.sampled_from(
    [
        {},
        {"session_id": "null"},
        {"device_class": "mobile", "rest": b'{"$browser_language":"pt_BR"}'},
        {"device_class": "bot"},
        {"rest": b'{"designMode":true}'},
        {"rest": b'{"genlook_widget_enabled":false}'},
    ]
)
stored = st.tuples(
    st.just("store"),
    visitors,
    st.lists(st.tuples(names, times), min_size=1, max_size=12),
    st.sampled_from(["p1", "p2"]),
    st.sampled_from(["2.1", "2.2"]),
    kinds,
)
acts = st.one_of(
    stored,
    stored,
    st.tuples(st.just("again"), st.integers(0, 20)),
    st.tuples(st.just("count")),
    st.tuples(st.just("erase"), visitors),
)
settings_of_shops = st.tuples(
    st.sampled_from(
        ["UTC", "Europe/Berlin", "America/Los_Angeles", "Asia/Kathmandu", "Atlantic/Azores"]
    ),
    st.sampled_from([1, 24, 72]),
)


def perform(database, shop, acts, start):
    sent = []
    for act, *arguments in acts:
        if act == "store":
            visitor, events, product, version, kind = arguments
            events = [(name, start + after) for name, after in events]
            columns = {"product_id": product, "lib_version": version, **kind}
            sent.append(batch(visitor, *events, shop=shop, **columns))
            store(database, sent[-1])
        elif act == "again" and sent:
            store(database, sent[arguments[0] % len(sent)])
        elif act == "count":
            count_new(database)
        elif act == "erase" and (found := find_shop(database, shop)):
            erase(database, found.id, arguments[0])


def erase(database, shop_id, visitor):
    with database.transaction():
        database.execute(
            "DELETE FROM events USING batches b WHERE events.shop_id = %s AND b.shop_id = %s"
            " AND b.id = batch_id AND b.client_id IS NOT DISTINCT FROM %s",
            [shop_id, shop_id, visitor],
        )
        # Events of nobody can only leave with the whole shop.
        mark_dirty(database, shop_id, [visitor] if named(visitor) else None)


def settle(database):
    while count_new(database):
        pass


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(acts, min_size=1, max_size=8), settings_of_shops, st.sampled_from(STARTS),
       st.integers(-1, 4), st.integers(0, 4), st.sampled_from([50_000, 10]), times)  # fmt: skip
def test_they_are_equal_after_any_history(
    module_database, acts, chosen, start, first, length, most, now
):
    with patch.object(journeys, "MOST_EVENTS", most):
        compare_after(module_database, acts, chosen, start, first, length, start + 2 * now)


def compare_after(module_database, acts, chosen, start, first, length, now):
    database, name = module_database, f"shop-{next(_shops)}.myshopify.com"
    database.execute("INSERT INTO shops (domain) VALUES (%s)", [name])
    time_zone, window_hours = chosen
    database.execute(
        "INSERT INTO report_shops (shop_id, time_zone, window_hours)"
        " SELECT id, %s, %s FROM shops WHERE domain = %s",
        [time_zone, window_hours, name],
    )
    perform(database, name, acts, start)
    settle(database)
    today = now.astimezone(ZoneInfo(time_zone)).date()
    shop = replace(find_shop(database, name), now=now, today=today)
    day = start.date() + timedelta(days=first)
    period = Period(day, day + timedelta(days=length))
    counted = report(database, shop, period, "product")
    assert numbers_of(counted) == plain_numbers(database, shop, period)
    days = counted["days"]
    exported = Counter(map(str, exported_days(database, shop, period)))
    assert {day["day"]: day["events"] for day in days if day["events"]} == exported
    for by in BREAKDOWNS:
        for group in report(database, shop, period, by)["breakdown"]["groups"]:
            only = Choice(by, group["value"])
            filtered = numbers_of(report(database, shop, period, by, only=only))
            assert filtered == plain_numbers(database, shop, period, only)
            assert group["steps"] == [number for number, _ in filtered["funnel"]]
            assert group["visitors"] == filtered["visitors"]


def exported_days(database, shop, period):
    with database.transaction():
        rows = iter(tables.raw_events(database, shop, period))
        column = next(rows).index("occurred_at")
        return [row[column].astimezone(ZoneInfo(shop.time_zone)).date() for row in list(rows)]


def test_a_rebuild_changes_no_cell(module_database):
    database, name = module_database, "rebuilt.myshopify.com"
    for number in range(120):
        events = [(FUNNEL[number % 7], START + timedelta(hours=number * 5 + step))
                  for step in range(4)]  # fmt: skip
        store(database, batch("abc"[number % 3], *events, shop=name, product_id=f"p{number % 4}"))
    settle(database)
    shop = find_shop(database, name)
    counted = cells(database, shop)
    assert counted
    rebuild(database, shop.id)
    assert cells(database, shop) == counted


def test_a_rebuild_reads_values_as_the_first_count_did(module_database):
    database, name = module_database, "values.myshopify.com"
    values = (b'"p1"', b"7", b"7.0", b"7.5", b"1e25", b"true", b"null", b'"\\u00e9"')
    languages = (b'"de-DE"', b'"DE"', b"5", b'"\\u00c9"')
    for number, (product, language) in enumerate(
        itertools.product((None, "", "p1", "x" * 250), languages)
    ):
        columns = {"client_id": f"v{number % 3}", "lib_version": "y" * (198 + number)}
        if product is not None:
            columns["product_id"] = product
        events = []
        for n, value in enumerate(values):
            at = START - timedelta(days=2000 if n == 3 else 0, minutes=9 * n)
            properties = b'{"product_id":%b}' % value
            events.append(Event(FUNNEL[n % 7], f"value-{number}-{n}", at, properties, b"{}"))
        context = Context(columns, b'{"$browser_language":%b}' % language)
        store(database, Batch.build(shop=name, customer_id=None, received_at=START, context=context,
                                    events=events, rejected=[]))  # fmt: skip
    settle(database)
    shop = find_shop(database, name)
    counted, kept = cells(database, shop), journeys_of(database, shop)
    texts = {text for (text,) in database.execute(
        "SELECT value FROM report_values WHERE shop_id = %s", [shop.id])}  # fmt: skip
    assert {"p1", "gid://shopify/Product/7", "7.5", "x" * 200, "de", "é", ""} <= texts
    rebuild(database, shop.id)
    assert cells(database, shop) == counted
    assert journeys_of(database, shop) == kept
    with database.transaction():
        mark_dirty(database, shop.id, ["v1"])
    settle(database)
    assert cells(database, shop) == counted
    assert journeys_of(database, shop) == kept


def journeys_of(database, shop):
    """Each visitor's events, with the values' texts instead of their numbers."""
    texts = dict(database.execute("SELECT id, value FROM report_values").fetchall())
    return {
        visitor: [(*event[:3], *(texts.get(value, value) for value in event[3:]))
                  for event in journeys.unpack(packed)]
        for visitor, packed in database.execute(
            "SELECT visitor, events FROM report_visitors WHERE shop_id = %s", [shop.id])
    }  # fmt: skip


def cells(database, shop):
    """What is counted, with the values' texts instead of their numbers."""
    texts = dict(database.execute("SELECT id, value FROM report_values").fetchall())
    return {
        (dimension, day, texts.get(part, part), texts.get(value, value), measure, previous, number)
        for dimension, day, part, packed in database.execute(
            "SELECT dimension, day, part, cells FROM report_counts WHERE shop_id = %s", [shop.id]
        )
        for value, measure, previous, number in unpack(packed)
    }
