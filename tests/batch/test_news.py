"""What the web process announces of a batch is what anyone reads out of its lines."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.batch.news import LATEST, pack, unpack
from app.intake.submission import Submission
from app.tracking.validation import validate

NOW = datetime(2026, 3, 1, 0, 0, 30, tzinfo=UTC)
EVENT = {"event": "widget:button_click", "timestamp": NOW.isoformat(), "properties": {}}

ids = st.sampled_from(["", "undefined", " ", "a-visitor", 'with "quotes" and \\', "\t", "null"])
texts = st.one_of(st.text(max_size=20), st.sampled_from(["2.1.0", "en-US", "DE", "zh_Hans.UTF-8"]))
products = st.one_of(
    st.none(), st.just(12), st.just(1.5), st.just(True), texts, st.just("gid://shopify/Product/7")
)
flags = st.one_of(st.booleans(), st.just("true"), st.none())
contexts = st.fixed_dictionaries(
    {},
    optional={
        "genlook_client_id": ids, "$session_id": ids, "genlook_product_id": texts,
        "genlook_lib_version": texts, "$browser_language": st.one_of(texts, st.just(1)),
        "$raw_user_agent": st.sampled_from(["Googlebot/2.1", "Mozilla/5.0 (iPhone)", ""]),
        "designMode": flags, "webdriver": flags, "genlook_widget_enabled": flags,
        "more": st.just({"$browser_language": "inside", "designMode": True}),
    },
)  # fmt: skip
properties = st.fixed_dictionaries(
    {},
    optional={
        "product_id": products, "product_title": texts, "designMode": flags, "webdriver": flags,
        "more": st.just({"product_id": "inside", "webdriver": True}),
    },
)  # fmt: skip
events = st.fixed_dictionaries(
    {
        "event": st.sampled_from(["widget:button_click", "product_page:page_view", "a:b"]),
        "timestamp": st.timedeltas(-LATEST * 2, timedelta(minutes=50)).map(
            lambda ago: (NOW + ago).isoformat()
        ),
        "properties": properties,
    }
)


def submit(context, *sent):
    body = {
        "context": context,
        "events": [{**event, "$insert_id": str(n)} for n, event in enumerate(sent)],
    }
    found = validate(orjson.dumps(body), "")
    assert not found.invalid
    return Submission.build(
        shop="a.myshopify.com", customer_id=None, received_at=NOW, context=found.context,
        events=found.events, rejected=[], size=1,
    ).batch  # fmt: skip


def packs(batch, lines=None):
    lines = batch.events if lines is None else lines
    return [
        (one.batches, unpack(one.packed), one.by_session, one.titles)
        for one in pack([(batch, lines)])
    ]


@given(contexts, st.lists(events, min_size=1, max_size=4))
@settings(deadline=None)
def test_it_says_what_the_lines_say(context, sent):
    batch = submit(context, *sent)
    assert batch.news
    assert packs(batch) == packs(replace(batch, news=b""))


def test_of_a_batch_some_events_of_which_are_stored_the_lines_are_read():
    batch = submit({}, EVENT, EVENT | {"event": "product_page:page_view"})
    [(_, [news], _, _)] = packs(batch, batch.events[1:])
    assert news[-1] == ["product_page:page_view"]


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param([EVENT | {"timestamp": "2026-03-01T02:00:00Z"}], id="a clock that is wrong"),
        pytest.param([EVENT, EVENT | {"$insert_id": "0"}], id="a repeat"),
    ],
)
def test_nothing_is_announced_of_events_that_are_stored_otherwise_than_sent(sent):
    body = {"context": {}, "events": [{"$insert_id": "0", **event} for event in sent]}
    found = validate(orjson.dumps(body), "")
    batch = Submission.build(
        shop="a.myshopify.com", customer_id=None, received_at=NOW, context=found.context,
        events=found.events, rejected=[], size=1,
    ).batch  # fmt: skip
    assert batch.events
    assert not batch.news
    assert len(packs(batch)) == 1


def test_what_a_release_with_another_definition_announced_is_read_out_of_the_lines():
    batch = submit({}, EVENT)
    _, _, rest = batch.news.partition(b"+" if b"+" in batch.news[:3] else b"-")
    batch.news = b"1-" + rest.replace(b"widget:button_click", b"widget:share_clicked")
    [(_, [news], _, _)] = packs(batch)
    assert news[-1] == ["widget:button_click"]
