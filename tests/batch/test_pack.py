"""What the reports are told of a batch, cell by cell."""

import json
from datetime import UTC, datetime, timedelta

import orjson
import pytest

from app.batch import news
from app.batch.batch import Batch, Context, Event
from app.batch.news import language_of, microseconds, pack, product_of, unpack, version_of
from tests.calls import SHOP

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
AT = int(NOON.timestamp()) * 1_000_000
PAGE = "product_page:page_view"


def made(*events, received=NOON, rest=None, **columns):
    """`events` are names, or names with a time and properties."""
    whole = [(one, NOON, {}) if isinstance(one, str) else one for one in events]
    return Batch.build(
        shop=SHOP,
        customer_id=None,
        received_at=received,
        context=Context(columns, json.dumps(rest or {}, separators=(",", ":")).encode()),
        events=[
            Event(name, f"id-{number}", at, orjson.dumps(properties), b"{}")
            for number, (name, at, properties) in enumerate(whole)
        ],
        rejected=[],
    )


def told(*events, **options):
    batch = made(*events, **options)
    [found] = pack([(batch, batch.events)])
    [one] = unpack(found.packed)
    return one


def test_a_batch_is_told_by_who_what_and_when():
    moment = NOON + timedelta(seconds=1, microseconds=250)
    assert told(
        (PAGE, NOON, {}), ("widget:result_view", moment, {}),
        client_id="c", session_id="s", product_id="7", lib_version="2.1", device_class="mobile",
        rest={"$browser_language": "de-AT", "other": 1},
    ) == [
        "c", "2.1", "mobile", "de", "gid://shopify/Product/7", [AT, AT + 1_000_250],
        [PAGE, "widget:result_view"],
    ]  # fmt: skip
    assert told(PAGE) == ["", "", "", "", [""], [AT], [PAGE]]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("2026-03-10T12:00:00+00:00", AT),
        ("2026-03-10T12:00:00.5+00:00", AT + 500_000),
        ("2026-03-10T12:00:00.000001+00:00", AT + 1),
        ("2026-03-10T12:01:59.999999+00:00", AT + 119_999_999),
        ("2026-03-10T14:00:00.25+02:00", AT + 250_000),
        ("2026-03-10 12:00:00+00:00", AT),
        ("1970-01-01T00:00:00+00:00", 0),
        ("1969-12-31T23:59:59.5+00:00", -500_000),
    ],
)
def test_a_time_is_microseconds_of_unix_time(text, wanted):
    for _ in range(2):
        assert microseconds(text) == wanted


@pytest.mark.parametrize(
    ("value", "product"),
    [
        ("p", "p"), ("", ""), (7, "gid://shopify/Product/7"), ("7", "gid://shopify/Product/7"),
        (7.0, "gid://shopify/Product/7"), (7.5, "7.5"),
        ("9" * 20, f"gid://shopify/Product/{'9' * 20}"),
        ("9" * 21, "9" * 21), (True, ""), (False, ""), (None, ""), ([7], ""), ({}, ""), (-7, "-7"),
        ("\u0667", "\u0667"), ("x" * 200, "x" * 200), ("x" * 201, "x" * 200),
        (1e30, str(int(1e30))[:200]),
    ],
)  # fmt: skip
def test_a_product_is_told_by_its_id(value, product):
    assert product_of(value) == product


def test_versions_and_languages_are_cut():
    assert version_of("v" * 201) == "v" * 200
    assert language_of("L" * 17) == "l" * 16
    for sent in ("pt-BR", "PT_br", "pt.UTF-8", "pt@x", "pt"):
        assert language_of(sent) == "pt"
    assert language_of("") == language_of("-de") == ""


@pytest.mark.parametrize(
    ("rest", "language"),
    [
        ({"$browser_language": "fr"}, "fr"),
        ({"a": {"$browser_language": "xx"}, "$browser_language": "fr"}, "fr"),
        ({"a": {"$browser_language": "xx"}}, ""),
        ({"a": '"$browser_language":"xx"'}, ""),
        ({"$browser_language": 'f"r'}, 'f"r'),
        ({"$browser_language": 7}, ""),
        ({"$browser_language": None}, ""),
        ({}, ""),
    ],
)
def test_a_language_is_that_of_the_field_itself(rest, language):
    assert told(PAGE, rest=rest)[3] == language


def test_without_a_product_of_the_page_each_event_has_its_own():
    events = [(PAGE, NOON, {"product_id": 7}), (PAGE, NOON, {}), (PAGE, NOON, {"a": "product_id"}),
              (PAGE, NOON, {"product_id": "a\tb"})]  # fmt: skip
    assert told(*events)[4] == ["gid://shopify/Product/7", "", "", "a\tb"]
    assert told(*events, product_id="p")[4] == "p"


@pytest.mark.parametrize(
    ("rest", "columns", "name"),
    [
        ({}, {}, PAGE),
        ({}, {"device_class": "bot"}, None),
        ({"designMode": True}, {}, None),
        ({"webdriver": True}, {}, None),
        ({"designMode": False}, {}, PAGE),
        ({"a": '"webdriver"'}, {}, PAGE),
        ({"genlook_widget_enabled": False}, {}, f"-{PAGE}"),
        ({"genlook_widget_enabled": True}, {}, PAGE),
        ({"a": {"genlook_widget_enabled": False}}, {}, PAGE),
        ({"genlook_widget_enabled": False, "webdriver": True}, {}, None),
    ],
)
def test_robots_and_pages_without_the_widget_are_told(rest, columns, name):
    assert told(PAGE, rest=rest, **columns)[6] == [name]


def test_an_event_alone_may_be_nobodys():
    events = [(PAGE, NOON, {"webdriver": True}), (PAGE, NOON, {"designMode": False}), PAGE]
    assert told(*events)[6] == [None, PAGE, PAGE]


@pytest.mark.parametrize(("more", "name"), [(0, PAGE), (1, None)])
def test_what_is_four_years_late_counts_as_an_event_only(more, name):
    at = NOON - timedelta(days=1461, microseconds=more)
    assert told((PAGE, at, {}), PAGE)[6] == [name, PAGE]


def test_who_has_no_client_is_told_by_the_session():
    batches = [made(PAGE, client_id="c"), made(PAGE, session_id="s"),
               made(PAGE, client_id="undefined", session_id="t"), made(PAGE)]  # fmt: skip
    [found] = pack([(batch, batch.events) for batch in batches])
    assert (found.batches, found.by_session) == (4, [1, 2, 3])
    assert [visitor for visitor, *_ in unpack(found.packed)] == ["c", "s", "t", ""]


def test_a_pack_ends_with_the_batch_that_brings_a_thousand_events(monkeypatch):
    batches = [made(*[PAGE] * 40, session_id=f"s{number}") for number in range(60)]
    found = list(pack([(batch, batch.events) for batch in batches]))
    assert [one.batches for one in found] == [25, 25, 10]
    assert [one.by_session for one in found] == [[*range(25)], [*range(25)], [*range(10)]]
    assert list(pack([])) == []
    monkeypatch.setattr(news, "_MOST_EVENTS", 80)
    assert [one.batches for one in pack([(one, one.events) for one in batches[:4]])] == [2, 2]


def titles(*events, **options):
    batch = made(*events, **options)
    [found] = pack([(batch, batch.events)])
    return orjson.loads(found.titles) if found.titles else None


def test_a_product_has_the_title_that_was_sent_last():
    later = NOON + timedelta(seconds=1)

    def called(at, title, product="p"):
        return PAGE, at, {"product_id": product, "product_title": title}

    assert titles(PAGE) is None
    assert titles(called(NOON, "One"), called(later, "Two"), called(NOON, "Three", "q")) == [
        ["p", AT + 1_000_000, "Two"], ["q", AT, "Three"]
    ]  # fmt: skip
    assert titles(called(later, "Two"), called(NOON, "One")) == [["p", AT + 1_000_000, "Two"]]
    assert titles(called(NOON, "  A \n shirt ")) == [["p", AT, "A shirt"]]
    assert titles(called(NOON, "x" * 201)) == [["p", AT, "x" * 200]]
    assert titles(called(NOON, "Of the page"), product_id="7") == [
        ["gid://shopify/Product/7", AT, "Of the page"]
    ]
    for nothing in ("", " ", 7, None, ["a"]):
        assert titles(called(NOON, nothing)) is None
    assert titles(called(NOON, "Without a product", "")) is None
    assert titles(called(NOON, "A robot's"), device_class="bot") is None
    assert titles((PAGE, NOON, {"product_id": "p", "a": {"product_title": "Inner"}})) is None


def test_titles_go_with_the_pack_of_their_events():
    batches = [
        made(*[(PAGE, NOON, {"product_id": f"p{number}", "product_title": "A"})] * 1000)
        for number in range(2)
    ]
    found = list(pack([(batch, batch.events) for batch in batches]))
    assert [orjson.loads(one.titles)[0][0] for one in found] == ["p0", "p1"]
