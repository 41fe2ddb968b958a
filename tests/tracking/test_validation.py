"""What of an event and of the context is accepted, and how it is stored."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from app.tracking.schemas import CATALOGUE
from app.tracking.validation import validate
from tests.calls import body, event


def errors_of(caller, **fields):
    """The reply's details for one event, by path; {} where it is accepted."""
    reply = caller.post(body(event(), event(**fields)))
    assert reply.status_code == 200
    return {
        detail["path"]: detail["message"]
        for rejected in reply.json.get("rejected", [])
        for detail in rejected["details"]
    }


@pytest.mark.parametrize("name", [*sorted(CATALOGUE), "a:b", "a1_b2:c3_d", f"a:{'b' * 98}"])
def test_the_catalogue_and_new_names_of_its_form_are_accepted(caller, name):
    assert errors_of(caller, event=name) == {}


@pytest.mark.parametrize(
    "name",
    [
        "", "click", "widget:", ":click", "Widget:click", "widget:Click", "widget:a b", "a:b:c",
        "widget:_a", "widget:a_", "widget:a__b", "widget:1a", "1a:b", "widget-x:a", "widget:ä",
        "widget:a\n", f"a:{'b' * 99}", None, 1, ["widget:button_click"], {}, True,
    ],
)  # fmt: skip
def test_other_names_are_refused(caller, name):
    assert list(errors_of(caller, event=name)) == ["event"]


@pytest.mark.parametrize("insert_id", ["x", "x" * 255, "ü€😀", " ", "'; DROP TABLE events", "\\N"])
def test_an_insert_id_may_be_any_text(caller, insert_id):
    assert errors_of(caller, insert_id=insert_id) == {}
    assert insert_id in [row["insert_id"] for row in caller.rows()]


@pytest.mark.parametrize("insert_id", ["", "x" * 256, "a\nb", "a\x7f", "a\x85", None, 7, [], {}])
def test_an_insert_id_has_a_length_and_no_control_characters(caller, insert_id):
    assert list(errors_of(caller, insert_id=insert_id)) == ["$insert_id"]


@pytest.mark.parametrize("timestamp", [None, 1705314600, "", "2024-01-15", [], {}, True])
def test_a_timestamp_is_a_date_and_time(caller, timestamp):
    assert list(errors_of(caller, timestamp=timestamp)) == ["timestamp"]


def test_a_missing_field_is_named(caller):
    incomplete = event()
    del incomplete["$insert_id"], incomplete["timestamp"]
    reply = caller.post(body(event(), incomplete))
    assert reply.json["rejected"][0]["details"] == [
        {"path": "$insert_id", "message": "is required"},
        {"path": "timestamp", "message": "is required"},
    ]


def nested(levels):
    value = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    "properties",
    [None, {}, {"a": None}, nested(10), {"a": "x" * (32 * 1024 - 8)}, {"a": [[1.5, True, "é"]]}],
)
def test_properties_are_stored_as_sent(caller, properties):
    assert errors_of(caller, insert_id="x", properties=properties) == {}
    [row] = [row for row in caller.rows() if row["insert_id"] == "x"]
    assert row["properties"] == (properties or {})


@pytest.mark.parametrize(
    "properties", [[], "text", 0, False, "", nested(11), {"a": "x" * (32 * 1024 - 7)}, [[]] * 9]
)
def test_properties_are_an_object_of_limited_size_and_depth(caller, properties):
    assert list(errors_of(caller, properties=properties)) == ["properties"]


def test_properties_may_be_left_out(caller):
    plain = event()
    del plain["properties"]
    caller.post(body(plain))
    assert caller.rows()[0]["properties"] == {}


def test_unknown_fields_are_kept(caller):
    caller.post({
        "events": [event(sent_at=1, nested={"a": [None]})],
        "context": {"$os": "iOS", "$session_id": "s"},
        "beside": 1,
    })  # fmt: skip
    [row] = caller.rows()
    assert row["extra"] == {"sent_at": 1, "nested": {"a": [None]}}
    assert row["context"] == {"$os": "iOS", "$session_id": "s"}


def test_a_known_field_of_the_wrong_type_costs_nothing(caller):
    context = {
        "genlook_client_id": 7,
        "$session_id": ["s"],
        "$pageview_id": None,
        "genlook_lib_version": "2.1",
        "$screen_width": "wide",
        "genlook_widget_enabled": "yes",
    }
    assert caller.post(body(context=context)).data == b'{"success":true}'
    [row] = caller.rows()
    assert (row["client_id"], row["session_id"], row["pageview_id"]) == (None, None, None)
    assert row["lib_version"] == "2.1"
    assert row["context"] == context


def test_an_empty_context_is_enough(caller):
    assert caller.post(body(context={})).data == b'{"success":true}'
    assert caller.rows()[0]["context"] == {}


def test_the_deepest_context_is_stored(caller):
    context = nested(998)
    assert caller.post(body(context=context)).data == b'{"success":true}'
    assert caller.post(raw=json.dumps(body(context=context)).replace(
        '"events"', r'"\ud83d": 1, "events"'
    )).data == b'{"success":true}'  # fmt: skip
    assert len(caller.rows("batches", "id")) == 2


def test_halves_of_an_emoji_and_nul_never_cost_an_event(caller):
    raw = json.dumps(body(event(insert_id="I\ud83d\0", properties={"k\0": "v\ud83d \\u0000"})))
    assert caller.post(raw=raw).data == b'{"success":true}'
    [row] = caller.rows()
    assert row["insert_id"] == "I\ufffd\ufffd"
    assert row["properties"] == {"k\ufffd": "v\ufffd \\u0000"}


def test_text_that_copy_would_read_otherwise_is_stored_as_sent(caller):
    odd = "a\tb\nc\rd\\e\\N\\.\u2028"
    context = {"$current_url": odd, "$session_id": "\\N", "other": odd, odd: odd}
    caller.post(body(event(properties={odd: odd}, extra=odd), context=context), customer="\\.\t")
    [row] = caller.rows()
    assert (row["current_url"], row["session_id"]) == (odd, "\\N")
    assert row["customer_id"] == "\\.\t"
    assert row["properties"] == {odd: odd}
    assert row["context"] == context


def test_a_nul_in_the_customer_id_costs_nothing(caller):
    assert caller.post(body(), customer="7\0").data == b'{"success":true}'
    assert caller.rows()[0]["customer_id"] == "7\ufffd"


@pytest.mark.parametrize(
    "timestamp", ["0001-01-01T00:00:00Z", "1999-12-31T23:59:59.999999999Z", "2024-02-29T00:00:00Z"]
)
def test_an_old_event_keeps_its_date(caller, timestamp):
    caller.post(body(event(timestamp=timestamp)))
    [row] = caller.rows()
    assert row["occurred_at"] == row["sent_timestamp"]
    assert row["occurred_at"].isoformat()[:19] == timestamp[:19]


def iso(moment):
    return moment.isoformat()


def test_a_clock_that_runs_ahead_is_corrected_with_the_spacing_kept(caller):
    ahead = datetime.now(UTC) + timedelta(days=3)
    times = [ahead, ahead - timedelta(hours=5), ahead - timedelta(seconds=1)]
    caller.post(body(*(event(timestamp=iso(moment)) for moment in times)))
    rows = caller.rows()
    received_at = rows[0]["received_at"]
    assert [row["sent_timestamp"] for row in rows] == sorted(times)
    assert rows[-1]["occurred_at"] == received_at
    assert [received_at - row["occurred_at"] for row in rows] == [
        timedelta(hours=5),
        timedelta(seconds=1),
        timedelta(),
    ]


def test_a_clock_that_is_a_little_ahead_is_believed(caller):
    moment = datetime.now(UTC) + timedelta(minutes=59)
    caller.post(body(event(timestamp=iso(moment))))
    [row] = caller.rows()
    assert row["occurred_at"] == row["sent_timestamp"] == moment


def test_a_correction_never_leads_out_of_the_calendar(caller):
    caller.post(
        body(event(timestamp="0001-01-01T00:00:00Z"), event(timestamp="9999-12-31T23:59:59Z"))
    )
    first, last = caller.rows()
    assert first["occurred_at"] == datetime.min.replace(tzinfo=UTC)
    assert last["occurred_at"] == last["received_at"]


def test_of_what_is_rejected_256_kib_are_kept():
    kept = [
        validate(b"{" + b"a" * 300_000, "").rejected[0].payload,
        validate(json.dumps(body({"event": "a" * 300_000})).encode(), "").rejected[0].payload,
    ]
    assert [len(payload) for payload in kept] == [256 * 1024] * 2
    short = b"{" + b"a" * (256 * 1024 - 1)
    assert validate(short, "").rejected[0].payload == short.decode()
