"""Of whom something is that waits, or that could not be stored; and whose addresses it has."""

from datetime import UTC, datetime, timedelta

import pytest

from app.batch.addresses import hash_in_json, hashed, in_text, in_value, unescaped
from app.batch.batch import Batch, Context, Event, Rejected
from app.privacy import search_rejected
from app.privacy.senders import (
    Sender,
    addresses,
    belongs_to,
    clients_of_rejected,
    sender,
    sender_of_line,
    was_received_before,
)
from app.privacy.subject import Subject
from app.store.rejected import UNREADABLE, UNSTORABLE
from app.store.writer import Writer
from tests.calls import SHOP
from tests.privacy.test_steps import LATER, silent

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
TICK = timedelta(microseconds=1)
MAIL = "ann@example.com"


def batch(*properties, customer=None, client=None, extra=b"{}", rejected=(), context=None):
    columns = {"client_id": client} if client else {}
    return Batch.build(
        shop=SHOP, customer_id=customer, received_at=NOW, context=Context(columns, fields=context),
        events=[Event("a:b", f"{n}", NOW, one, extra) for n, one in enumerate(properties)],
        rejected=[Rejected(None, "X", [], text) for text in rejected],
    )  # fmt: skip


# Addresses.


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (" Ann@Example.com ", {MAIL}),
        ({"a": [{"b": ["x", MAIL]}]}, {MAIL}),
        ({MAIL: 1}, {MAIL}),
        ([["to ann@example.com."]], {MAIL}),
        (5, set()),
        ({"a": None, "b": True}, set()),
        (f"mailto:<{MAIL}>, ben@example.com;", {MAIL, "ben@example.com"}),
        ("email-hmac:" + "0" * 64, {"email-hmac:" + "0" * 64}),
    ],
)
def test_addresses_are_found_in_a_value_at_any_depth(value, found):
    told = set(in_value(value))
    assert found <= told
    assert bool(found) == any("@" in one or "hmac" in one for one in told)


@pytest.mark.parametrize(
    "text", ['{"mail": "ANN@example.com"', '{"mail": "ann\\u0040example.com"', f"x {MAIL} y"]
)
def test_they_are_found_in_what_is_no_json_too(text):
    assert MAIL in set(in_text(text))


def test_escapes_by_number_are_undone_and_others_stay():
    assert unescaped("\\u0041\\u00e4\\n\\u12") == "Aä\\n\\u12"


def test_strings_that_are_addresses_are_hashed_and_nothing_else():
    key = b"k" * 16
    text = b'{"a":"Ann@Example.com","b":"to ann@example.com","c":" ann@example.com ","d":"a@b"}'
    of_ann = hashed(MAIL, key).encode()
    assert hash_in_json(text, key) == (
        b'{"a":"%b","b":"to ann@example.com","c":"%b","d":"a@b"}' % (of_ann, of_ann)
    )
    assert hashed(" ANN@example.com", key) == hashed(MAIL, key) != hashed(MAIL, b"other")
    assert hash_in_json(b'{"a":"b"}', key) == b'{"a":"b"}'


# Batches that wait.


def test_a_batch_tells_of_whom_it_is_by_its_line():
    assert sender(batch(b"{}", customer="7", client="a\tb\\c\n")) == Sender(
        NOW, "7", frozenset(["a\tb\\c\n"])
    )
    assert sender(batch(b"{}")) == Sender(NOW, None, frozenset())


def test_one_without_a_valid_event_by_what_was_rejected():
    whole = batch(rejected=["{"], context={"genlook_client_id": "hers"}, customer="7")
    assert sender(whole) == Sender(NOW, "7", frozenset(["hers"]))
    text = '{"context": {"genlook_client_id" : "her\\u0073"}, "events": 5}'
    assert sender(batch(rejected=[text, "{}"])).client_ids == {"hers"}


@pytest.mark.parametrize("line", [b"", b"a", b"a\tb", b"\\N\t" * 40])
def test_what_is_no_line_of_a_batch_is_nobody_s(line):
    with pytest.raises((ValueError, IndexError)):
        sender_of_line(line)
    if line:
        assert sender(Batch(SHOP, line)) == Sender(None, None)


@pytest.mark.parametrize(
    ("context", "texts", "clients"),
    [
        ({"genlook_client_id": "a"}, ['"genlook_client_id": "b"'], {"a"}),
        ({"genlook_client_id": ""}, ['"genlook_client_id": "b"'], {"b"}),
        ({"genlook_client_id": 5}, ['"genlook_client_id":"b","genlook_client_id":"c"'], {"b", "c"}),
        ([], ['"genlook_client_id" :\n"b\\"c"'], {'b\\"c'}),
        (None, ['"genlook_client_id": ""', "x"], set()),
    ],
)
def test_what_was_rejected_names_browsers(context, texts, clients):
    assert clients_of_rejected(context, *texts) == clients


def test_a_batch_has_the_addresses_of_its_events_and_of_what_was_rejected():
    whole = batch(
        b'{"mail":"Ann@example.com"}', b'{"a":"ben@example.com"}',
        extra=b'{"b":"cy@example.com"}', rejected=['{"mail":"dan@example.com"'],
    )  # fmt: skip
    found = {one for one in addresses(whole) if "@" in one}
    assert found >= {MAIL, "ben@example.com", "cy@example.com", "dan@example.com"}
    assert [one for one in addresses(batch(b'{"a":"b"}')) if "@" in one] == []


HERS = Subject.build(customer_id="7", emails=[MAIL], client_ids=["hers"]).fingerprints()


@pytest.mark.parametrize(
    ("what", "is_hers"),
    [
        (batch(b"{}", customer="7"), True),
        (batch(b"{}", client="hers"), True),
        (batch(b"{}", client="hers", customer="8"), True),  # asked for by name
        (batch(b'{"mail":"ANN@example.com"}'), True),
        (batch(b'{"mail":"ann@example.com"}', customer="8"), False),
        (batch(b'{"mail":"ben@example.com"}', client="his"), False),
        (batch(rejected=['{"mail":"ann@example.com"']), True),
    ],
)
def test_a_batch_is_hers_by_each_thing_that_names_her(what, is_hers):
    assert belongs_to(HERS, NOW + TICK)(what) == is_hers
    assert not belongs_to(HERS, NOW)(what)  # received at that moment
    assert was_received_before(NOW + TICK)(what)
    assert not was_received_before(NOW)(what)


def test_of_what_cannot_be_read_it_is_not_known_when_it_was_received():
    assert was_received_before(NOW - timedelta(days=9_999))(Batch(SHOP, b"no line"))


# What could not be stored.


@pytest.mark.parametrize("code", [UNREADABLE, UNSTORABLE])
def test_what_could_not_be_stored_is_found_by_its_lines_whenever_it_was_received(database, code):
    def kept(number, payload):
        row = database.execute(
            "INSERT INTO rejected_events (reject_key, shop_domain, received_at, code, details,"
            " payload, context) VALUES (gen_random_uuid(), %s, %s, %s, '[]', %s, '{}')"
            " RETURNING id",
            [SHOP, LATER, code, payload],
        )
        return row.fetchone()[0]

    line = batch(b"{}", customer="7", client="x").line.decode()
    hers = [
        kept(1, line),
        kept(2, f"first\nbatch {line}\nlast"),
        kept(3, '{"a": "ann@example.com"}'),
        kept(4, '"genlook_client_id": "hers"'),
    ]
    kept(5, batch(b"{}", customer="8", client="his").line.decode())
    told = []
    found = search_rejected.find(
        database, SHOP, HERS, NOW, after=0, progress=lambda *step: told.append(step)
    )
    assert found == hers
    assert told == [("rejected_events", 5)]
    assert search_rejected.find(
        database, SHOP, HERS, NOW, after=hers[1], progress=silent
    ) == hers[2:]  # fmt: skip
    assert search_rejected.find(
        database, "b.myshopify.com", HERS, NOW, after=0, progress=silent
    ) == []  # fmt: skip


def test_browsers_of_a_customer_are_those_of_what_was_rejected_before(database):
    writer = Writer(statement_timeout=10_000)
    for client, customer in (("one", "7"), ("two", "8")):
        context = {"genlook_client_id": client}
        writer.write(database, [batch(rejected=["{"], customer=customer, context=context)])
    assert search_rejected.browsers(database, SHOP, "7", NOW + TICK) == {"one"}
    assert search_rejected.browsers(database, SHOP, "7", NOW) == set()
    assert search_rejected.browsers(database, "b.myshopify.com", "7", NOW + TICK) == set()
