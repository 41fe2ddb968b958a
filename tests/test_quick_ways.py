"""What nearly everything is takes a quick way. The slow one, for all else, comes to the same: only
a look at which way is taken notices that the quick one is lost."""

from datetime import UTC, datetime, timedelta
from functools import partial

import orjson
import pytest

from app.batch import batch as batches
from app.batch import json as our_json
from app.batch import news, visitor
from app.batch.batch import Batch, Context, Event
from app.batch.news import announce, microseconds, pack
from app.counts import journeys, tally
from app.counts import visitor as counted
from app.counts.journeys import pack as pack_events
from app.counts.measures import KINDS
from app.counts.measures import Event as Counted
from app.counts.tally import Tally
from app.store import contexts, writer
from app.store.writer import Writer
from app.tracking import timestamps
from app.tracking.timestamps import parse_timestamp
from tests.calls import SHOP
from tests.counts.histories import ADDED, BUTTON, FUNNEL, PAGE, RESULT
from tests.counts.histories import batch as batch_of

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
CLIENT = "550e8400-e29b-41d4-a716-446655440000"
SESSION = "650e8400-e29b-41d4-a716-446655440000"
DAY = 24 * 60 * 60 * 1_000_000  # µs


@pytest.fixture
def closed(monkeypatch):
    """Whoever takes this way fails."""

    def close(module, name):
        def closed(*_, **__):
            raise AssertionError(f"{name} is the slow way")

        closed.fullmatch = closed
        monkeypatch.setattr(module, name, closed)

    return close


def events(number, properties=b"{}"):
    return [Event(BUTTON, f"id-{n}", NOON, properties, b"{}") for n in range(number)]


def build(number, columns, fields=None, properties=b"{}"):
    context = Context(columns, b"{}", fields={} if fields is None else fields)
    some = events(number, properties)
    built = Batch.build(
        shop=SHOP, customer_id=None, received_at=NOON, context=context, events=some, rejected=[]
    )
    built.news = announce(built, context, some, NOON)
    return built


@pytest.mark.parametrize("text", ["2026-03-10T12:00:00Z", "2026-03-10T12:00:00.000Z"])
def test_a_time_as_browsers_write_it(closed, text):
    closed(timestamps, "_FORM")
    assert parse_timestamp(text) == NOON


def test_a_time_as_we_write_it(monkeypatch):
    asked = []
    minute = news._minute
    monkeypatch.setattr(news, "_minute", lambda text: asked.append(text) or minute(text))
    exact = NOON + timedelta(seconds=7, microseconds=30)
    for at in (NOON, exact):
        assert microseconds(at.isoformat()) == round(at.timestamp() * 1e6)
    assert asked == ["2026-03-10T12:00"] * 2


@pytest.mark.parametrize("number", [1, 2, 50])
def test_an_entry_of_this_release(closed, number):
    entry = build(number, {}).to_entry()
    closed(batches, "form_of")
    assert len(Batch.from_entry(entry).events) == number


@pytest.mark.parametrize("columns", [{"client_id": CLIENT}, {"session_id": SESSION}, {}])
def test_what_web_has_announced(closed, columns):
    closed(news, "_of_lines")
    one = build(3, columns)
    [packed] = pack([(one, one.events)])
    assert packed.by_session == ([] if "client_id" in columns else [0])


def test_properties_in_which_nobody_is_named_are_not_read(monkeypatch):
    asked = []
    is_nobodys = news.is_nobodys
    monkeypatch.setattr(news, "is_nobodys", lambda one: asked.append(one) or is_nobodys(one))
    build(10, {"client_id": CLIENT}, {"a": 1}, b'{"product_id":"p"}')
    assert asked == [{"a": 1}]


def test_titles_are_looked_for_where_one_is_sent(closed):
    closed(news, "_add_title")
    one = build(3, {"client_id": CLIENT}, properties=b'{"product_id":"p"}')
    [packed] = pack([(one, one.events)])
    assert packed.titles == b""


def test_a_uuid_names_somebody(monkeypatch):
    monkeypatch.setattr(visitor, "_MISSING", None)
    assert visitor.named(CLIENT) == CLIENT


@pytest.mark.parametrize(
    "text",
    [b'{"a":[1,"b",{"c":null}]}', b"[%b]" % b",".join([b"{}"] * (our_json.DEPTH_LIMIT - 1))],
)
def test_json_without_what_postgres_cannot_hold(closed, text):
    for slow in ("_parse_leniently", "_repair", "depth_of"):
        closed(our_json, slow)
    assert our_json.parse_json(text) == orjson.loads(text)


def test_json_that_is_not_deep(closed):
    closed(our_json.json, "dumps")
    assert our_json.dump_json({"a": [1]}) == b'{"a":[1]}'


def short(*names, day=0, product=1, at=0):
    return [
        Counted(at + number * 60_000_000, KINDS[name], day, product, 1, 1, 1)
        for number, name in enumerate(names)
    ]


def test_short_visits_are_counted_together(closed):
    closed(tally, "outcome")
    added = Tally()
    first, rest = short(*FUNNEL[:3]), short(*FUNNEL)[3:]
    window = DAY
    added.change(1, b"", pack_events(first), [pack_events(first)], window)
    everything = [*first, *rest]
    added.change(1, pack_events(first), pack_events(everything), [pack_events(rest)], window)
    added.add(1, pack_events([*short(PAGE), *short(PAGE, product=2, at=1)]), window)
    added.add(1, pack_events(everything), window, by=-1)
    assert added.cells()


def test_visits_of_several_days_each_within_one_window(closed):
    closed(counted, "_attempts")
    visits = [*short(*FUNNEL), *short(*FUNNEL, day=2, at=2 * DAY)]
    days, _ = counted.days_and_times(visits, DAY)
    assert list(days) == [0, 2]


def test_new_events_behind_those_that_are_kept(closed):
    closed(journeys, "unpack")
    old, new = pack_events(short(PAGE)), [pack_events(short(RESULT, at=60_000_000))]
    assert journeys.with_new(old, new) == old + new[0]


def test_batches_of_a_page_that_is_known(closed, database):
    closed(contexts, "_ANY_LINE")
    closed(writer, "_write_around_conflicts")
    ids = {"session_id": SESSION, "current_url": "https://a/"}
    ours = Writer(statement_timeout=10_000)
    make = partial(batch_of, CLIENT, (ADDED, NOON), **ids)
    assert ours.write(database, [make()]) == 1
    closed(contexts, "_split")
    assert ours.write(database, [make(), make()]) == 2
