"""A batch as it is stored and carried: each cell of a line, and what is read of another release."""

import json
from datetime import UTC, datetime, timedelta
from hashlib import blake2b

import pytest

from app.batch.batch import (
    BATCH_COLUMNS,
    EVENT_COLUMNS,
    FORM,
    Batch,
    Context,
    Event,
    Rejected,
    UnreadableEntry,
    digest,
    form_of,
    unescape,
)
from app.batch.form import Form, NewerEntry

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
UUID = "0f6f5bd4-98a0-4a43-8a5b-6dbb4dd2b9a1"


def event(insert_id="a", at=NOON, properties=b"{}", extra=b"{}"):
    return Event("widget:button_click", insert_id, at, properties, extra)


def build(*events, customer=None, context=None, rejected=()):
    return Batch.build(
        shop="s", customer_id=customer, received_at=NOON, context=context or Context(),
        events=list(events), rejected=list(rejected),
    )  # fmt: skip


def cells(line, columns):
    return dict(zip(columns, line.decode().split("\t"), strict=True))


def test_a_line_has_a_cell_for_each_column():
    context = Context(
        {"client_id": "c", "os": "iOS", "current_url": "a\tb\\c\nd\re\0"}, b'{"a":"\\\\"}'
    )
    found = cells(build(event(), customer="7", context=context).line, BATCH_COLUMNS)
    assert {name: cell for name, cell in found.items() if cell != r"\N"} == {
        "received_at": "2026-03-10T12:00:00+00:00", "customer_id": "7", "client_id": "c",
        "os": "iOS", "current_url": r"a\tb\\c\nd\re" + "\ufffd", "context": r'{"a":"\\\\"}',
    }  # fmt: skip
    assert unescape(found["current_url"]) == "a\tb\\c\nd\re\ufffd"


def test_an_event_has_a_line_of_its_own():
    [line] = build(event("i\\d", properties=b'{"p":"\\n"}', extra=b'{"e":1}')).events
    assert cells(line, EVENT_COLUMNS) == {
        "occurred_at": "2026-03-10T12:00:00+00:00",
        "insert_key": blake2b(b"i\\d", digest_size=16).hexdigest(),
        "sent_timestamp": r"\N",
        "event": "widget:button_click",
        "insert_id": r"i\\d",
        "properties": r'{"p":"\\n"}',
        "extra": '{"e":1}',
    }
    empty = cells(build(event()).events[0], EVENT_COLUMNS)
    assert (empty["properties"], empty["extra"]) == (r"\N", r"\N")


def test_a_uuid_is_its_own_key_and_stored_once():
    batch = build(event(UUID), event(UUID.upper()))
    first, second = (cells(line, EVENT_COLUMNS) for line in batch.events)
    assert (first["insert_key"], first["insert_id"]) == (UUID, r"\N")
    assert (second["insert_key"], second["insert_id"]) == (digest(UUID.upper()).hex(), UUID.upper())
    assert batch.keys == [bytes.fromhex(UUID.replace("-", "")), digest(UUID.upper())]
    assert Batch.from_entry(batch.to_entry()).keys == batch.keys


def test_of_events_with_one_id_the_first_is_kept():
    batch = build(event("a", properties=b'{"n":1}'), event("b"), event("a", properties=b'{"n":2}'))
    assert [cells(line, EVENT_COLUMNS)["properties"] for line in batch.events] == ['{"n":1}', r"\N"]
    assert len(batch.keys) == 2


@pytest.mark.parametrize(("ahead", "is_believed"), [(0, True), (3_600, True), (3_601, False)])
def test_a_clock_is_believed_up_to_an_hour(ahead, is_believed):
    latest = NOON + timedelta(seconds=ahead)
    earlier, last = (
        cells(line, EVENT_COLUMNS)
        for line in build(event("a", latest - timedelta(minutes=5)), event("b", latest)).events
    )
    assert last["occurred_at"] == (latest if is_believed else NOON).isoformat()
    assert last["sent_timestamp"] == (r"\N" if is_believed else latest.isoformat())
    difference = datetime.fromisoformat(last["occurred_at"]) - datetime.fromisoformat(
        earlier["occurred_at"]
    )
    assert difference == timedelta(minutes=5)


def test_what_was_rejected_is_carried_with_its_context():
    context = Context({}, b"{}", {"as": "sent"})
    rejected = [Rejected(None, "CODE", [{"path": "p", "message": "m"}], "payload")]
    batch = build(customer="7", context=context, rejected=rejected)
    assert (batch.line, batch.events) == (b"", [])
    assert json.loads(batch.rejected) == {
        "received_at": "2026-03-10T12:00:00+00:00",
        "customer_id": "7",
        "context": '{"as":"sent"}',
        "items": [{"index": None, "code": "CODE", "details": [{"path": "p", "message": "m"}],
                   "payload": "payload"}],
    }  # fmt: skip
    assert json.loads(build(rejected=rejected).rejected)["context"] is None
    assert build(event()).rejected == b""


@pytest.mark.parametrize("number", [0, 1, 3])
def test_an_entry_reads_as_it_was_written(number):
    batch = build(*(event(str(n)) for n in range(number)), rejected=[Rejected(0, "A", [], "x")])
    entry = batch.to_entry()
    assert entry[b"v"] == b"1"
    assert form_of(entry) == FORM
    found = Batch.from_entry(entry | {b"trace": b"t"})
    assert (found, found.trace) == (batch, b"t")
    assert Batch.from_entry(entry).trace == b""


def test_an_entry_of_an_earlier_release_has_nulls_for_what_it_did_not_know():
    entry = build(event("a"), event("b"), customer="7").to_entry()
    older = entry | {b"batch": entry[b"batch"].rsplit(b"\t", 2)[0]}
    assert form_of(older) == Form(1, FORM.batch_columns - 2, FORM.event_columns)
    found = Batch.from_entry(older)
    assert found.line == older[b"batch"] + rb"\t\N\t\N".replace(rb"\t", b"\t")
    assert len(found.events) == 2


@pytest.mark.parametrize(
    ("changed", "form"),
    [
        ({b"v": b"2"}, Form(2, 0, 0)),
        ({b"batch": b"\t" * FORM.batch_columns}, Form(1, FORM.batch_columns + 1, 7)),
        ({b"events": b"\t" * 7 + b"\n" + b"\t" * 7}, Form(1, FORM.batch_columns, 8)),
    ],
)
def test_an_entry_of_a_later_release_is_left_to_it(changed, form):
    entry = build(event()).to_entry() | changed
    with pytest.raises(NewerEntry) as newer:
        Batch.from_entry(entry)
    assert newer.value.form == form


@pytest.mark.parametrize(
    "changed",
    [{b"v": b"0"}, {b"v": b"x"}, {b"events": b"\t" * 6 + b"\n" + b"\t" * 7},
     {b"events": b"\t" * 5}, {b"events": b"a"}, {b"shop": b"\xff"}],
)  # fmt: skip
def test_what_is_no_entry_is_unreadable(changed):
    with pytest.raises(UnreadableEntry):
        Batch.from_entry(build(event()).to_entry() | changed)


@pytest.mark.parametrize("field", [b"v", b"batch", b"events", b"shop", b"rejected"])
def test_an_entry_that_lacks_a_field_is_unreadable(field):
    entry = build(event()).to_entry()
    del entry[field]
    with pytest.raises(UnreadableEntry):
        Batch.from_entry(entry)


def test_a_line_without_a_key_is_unreadable():
    entry = build(event()).to_entry() | {b"events": b"\t".join([b"x"] * 7)}
    with pytest.raises(UnreadableEntry):
        _ = Batch.from_entry(entry).keys


@pytest.mark.parametrize(
    ("cell", "text"), [("a", "a"), (r"a\tb\nc\rd", "a\tb\nc\rd"), (r"\\N", r"\N"), (r"\x", "x")]
)
def test_a_cell_is_read_as_copy_reads_it(cell, text):
    assert unescape(cell) == text
