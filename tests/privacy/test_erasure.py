"""Forgetting a shopper: every trace of him, and nothing of anybody else."""

import threading
import time
from contextlib import closing
from datetime import timedelta

import pytest

from app.batch import addresses
from app.batch.batch import Batch
from app.intake.spool import Spool
from app.privacy import work as work_module
from app.store import walks
from app.store.connections import connect
from app.store.writer import Writer
from tests.calls import CONTEXT, body, event
from tests.privacy.bodies import redaction

ANN, BEN = "207119551", "999"
HERS, SHARED, HIS = "client-of-ann", "client-of-both", "client-of-ben"
KEY = b"a key"


def by(client, *events, **context):
    return body(*events, context={**CONTEXT, "genlook_client_id": client, **context})


def given(email, **properties):
    """The event in which a visitor gives his address."""
    return event(event="widget:email_collected", properties={"form": {"mail": email}, **properties})


def traces(database, redis_client, spool_dir, *words):
    """Where one of the words is found: every table, every key of Redis, the spool's file."""
    texts = []
    tables = database.execute(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    ).fetchall()
    for (table,) in tables:
        rows = database.execute(f"SELECT t::text FROM {table} AS t").fetchall()
        texts += [(table, row[0]) for row in rows]
    for key in redis_client.scan_iter():
        dump = redis_client.xrange(key) if redis_client.type(key) == b"stream" else key
        texts.append((key.decode(), str(dump)))
    with closing(Spool(spool_dir, max_bytes=2**20)) as spool:
        texts += [("spool", str(spooled)) for spooled in spool.oldest(10_000)]
    return [place for place, text in texts for word in words if word in text]


@pytest.fixture
def found(database, redis_client, settings, tmp_path):
    return lambda *words: traces(database, redis_client, tmp_path / "spool", *words)


@pytest.fixture
def redact(deliver, work):
    def redact(customer=None, email=None):
        assert deliver("customers/redact", redaction(customer, email)).status_code == 200
        work()

    return redact


def ids(caller):
    return {row["insert_id"] for row in caller.rows()}


def test_a_customer_goes_with_all_that_his_browsers_sent(caller, redact, found, recounted):
    caller.post(by(HERS, event()), customer=ANN)
    caller.post(by(HERS, event(), event(timestamp="2019-03-01T00:00:00Z")))
    caller.post(by(HERS, event(timestamp="never")))
    caller.post(by(HERS, event(timestamp="never")), customer=ANN)
    caller.post(by(HIS, event(insert_id="kept")), customer=BEN)
    caller.post(by(HERS, event(insert_id="another shop's")), shop="b.myshopify.com", customer=ANN)
    caller.rows()
    redact(int(ANN))
    assert ids(caller) == {"kept", "another shop's"}
    assert caller.rejected() == []
    assert recounted == [{HERS}]
    assert set(found(ANN, HERS)) == {"stored_batches"}  # the other shop's
    [request] = caller.rows("privacy_requests", "id")
    assert request["erased"] == {"events": 3, "batches": 2, "rejected_events": 2}


def test_in_a_shared_browser_what_is_nobodys_goes_and_anothers_stays(caller, redact):
    caller.post(by(SHARED, event(insert_id="hers")), customer=ANN)
    caller.post(by(SHARED, event(insert_id="nobody's")))
    caller.post(by(SHARED, event(insert_id="his")), customer=BEN)
    caller.rows()
    redact(int(ANN))
    assert ids(caller) == {"his"}


def test_an_id_that_names_nobody_is_no_browser_that_shoppers_share(caller, redact):
    caller.post(by("undefined", event(insert_id="hers")), customer=ANN)
    caller.post(by("undefined", event(insert_id="another's")))
    caller.rows()
    redact(int(ANN))
    assert ids(caller) == {"another's"}


@pytest.mark.parametrize(
    "sent", ["ann@example.com", " Ann@EXAMPLE.com\t", "ANN@EXAMPLE.COM", "<ann@example.com>"]
)
def test_an_address_is_found_at_any_depth_in_any_case(caller, redact, found, sent):
    caller.post(by(HERS, given(sent), event()))
    caller.post(by(HERS, event()))
    caller.post(by(HIS, given("joann@example.com"), given("ann@example.com.au")))
    caller.post(by("x", {**given(sent), "timestamp": "never"}))
    caller.rows()
    redact(email="Ann@Example.com ")
    assert {row["client_id"] for row in caller.rows()} == {HIS}
    assert len(caller.rows()) == 2
    assert found('"ann@example.com"', "Ann@E", "ANN@", HERS) == []


@pytest.mark.parametrize(
    ("sent", "asked"),
    [("Jörg@STRASSE.de", "JÖRG@straße.de"), ('"Jörg J"@x.de', '"jörg j"@x.de '),
     ('"J\\J"@x.de', '"j\\j"@X.de')],
)  # fmt: skip
def test_an_odd_address_is_compared_as_people_would(caller, redact, sent, asked):
    caller.post(by(HERS, given(sent)))
    caller.post(by(HIS, given("joerg@strasse.de")))
    caller.rows()
    redact(email=asked)
    assert {row["client_id"] for row in caller.rows()} == {HIS}


def test_her_address_in_the_hands_of_another_customer_costs_him_one_event(caller, redact, found):
    caller.post(by(HIS, given("ann@example.com"), event(insert_id="kept")), customer=BEN)
    caller.post(by(HIS, given("ann@example.com")), customer=BEN)
    caller.rows()
    redact(email="ann@example.com")
    assert ids(caller) == {"kept"}
    assert found("ann@example.com") == []
    assert len(caller.rows("batches", "id")) == 1


def test_a_body_that_could_not_be_used_is_searched_too(caller, redact, found):
    caller.post(raw=b'{"events": 5, "note": "ann\\u0040example.com"}')
    caller.post(raw=b'{"context": {"genlook_client_id": "client-of-ann"}, "events": [')
    caller.post(raw=b'{"events": "no\'s"}')
    caller.post(by(HERS, event()), customer=ANN)
    caller.rows()
    redact(int(ANN), "ann@example.com")
    assert [row["payload"] for row in caller.rejected()] == ['{"events": "no\'s"}']


@pytest.mark.parametrize("customer", [ANN, ""])
def test_what_waits_in_the_stream_goes_at_once(
    caller, deliver, work, found, redis_client, customer
):
    caller.post(by(HERS, event()), customer=ANN)
    caller.rows()
    caller.post(by(HERS, given("ann@example.com"), event(timestamp="never")), customer=customer)
    caller.post(by(HERS, event(timestamp="never")), customer=customer)
    caller.post(by(HIS, event(insert_id="kept")))
    deliver("customers/redact", redaction(int(ANN)))
    work()
    assert redis_client.xlen("{t0}:stream") == 1
    assert found(ANN, HERS, "ann@example.com") == []
    assert ids(caller) == {"kept"}


@pytest.mark.parametrize(
    "raw",
    [
        b'{"events": 5, "p": {"genlook_client_id": "x"}, "context": {"genlook_client_id": "%b"}}',
        b'{"events": [{"genlook_client_id": "x"}], "context": {"genlook_client_id": "%b"}',
    ],
)
@pytest.mark.parametrize("browser", [b"client-of-ann", b"client\\u002dof-ann"])
def test_a_body_that_names_more_than_one_browser_is_of_each(caller, redact, found, raw, browser):
    caller.post(by(HERS, event()), customer=ANN)
    caller.rows()
    caller.post(raw=raw % browser)
    redact(int(ANN))
    assert caller.rejected() == []


def test_what_waits_in_the_spool_goes_at_once(caller, calling, redact, found, tmp_path):
    caller.post(by(HERS, event()), customer=ANN)
    caller.rows()
    offline = calling(redis_url="redis://127.0.0.1:1", database_url="postgresql://127.0.0.1:1/x")
    assert offline.post(by(HERS, event())).json == {"success": True}
    assert offline.post(by(HIS, event())).json == {"success": True}
    redact(int(ANN))
    assert found(HERS, ANN) == []
    assert found(HIS) == ["spool"]
    files = b"".join(file.read_bytes() for file in (tmp_path / "spool").iterdir())
    assert HERS.encode() not in files


def test_what_arrives_after_the_search_is_found_when_it_arrives(
    caller, deliver, work, database, redis_client, found
):
    """A batch that was received before, and was in nobody's reach until now."""
    caller.post(by(HERS, event()), customer=ANN)
    caller.rows()
    caller.post(by(HERS, event()))  # of a browser that is known
    caller.post(by("new-client", event()), customer=ANN)
    caller.post(by("new-client", given("ann@example.com")), customer=BEN)
    entries = redis_client.xrange("{t0}:stream")
    redis_client.delete("{t0}:stream")
    caller.post(by("new-client", event()))
    caller.rows()
    deliver("customers/redact", redaction(int(ANN), "ann@example.com"))
    work()
    assert caller.rows("privacy_requests", "id")[0]["outcome"] == "done"
    for _, fields in entries:
        redis_client.xadd("{t0}:stream", fields)
    assert len(caller.rows()) == 4
    database.execute("UPDATE privacy_requests SET due_at = now()")
    work()
    assert ids(caller) == set()
    assert found(ANN, HERS, "new-client", "ann@example.com") == []


def test_a_shopper_who_comes_back_is_a_new_one(caller, redact, database, work):
    caller.post(by(HERS, event()), customer=ANN)
    caller.rows()
    redact(int(ANN))
    caller.post(by(HERS, event(insert_id="new")), customer=ANN)
    caller.rows()
    database.execute("UPDATE privacy_requests SET due_at = now()")
    work()
    assert ids(caller) == {"new"}


def test_an_erasure_that_was_cut_off_finds_the_rest(caller, deliver, work, database, monkeypatch):
    caller.post(by(HERS, event()), customer=ANN)
    caller.post(by(HERS, given("ann@example.com")))
    caller.post(by("her-other", event()))
    caller.post(by("her-other", given("ann@example.com")))
    caller.rows()
    deliver("customers/redact", redaction(int(ANN), "ann@example.com"))
    steps = iter(range(100))

    def fail_later(*_):
        if next(steps) == 1:
            raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr(walks, "WINDOW_ROWS", 1)
        patch.setattr(work_module, "_renewing", lambda *_: fail_later)
        for _ in range(30):  # each time a step further
            database.execute("DELETE FROM privacy_failures")
            database.execute("UPDATE privacy_requests SET due_at = now()")
            steps = iter(range(100))
            work()
    database.execute("DELETE FROM privacy_failures")
    database.execute("UPDATE privacy_requests SET due_at = now()")
    work()
    assert ids(caller) == set()
    assert caller.rows("batches", "id") == []


def test_windows_reach_every_row(caller, redact, monkeypatch):
    monkeypatch.setattr(walks, "WINDOW_ROWS", 3)
    times = ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2026-11-01T00:00:00Z"]
    for number in range(20):
        caller.post(by(HERS, event(timestamp=times[number % 2])), customer=ANN)
        caller.post(by(HIS, event()), customer=BEN)
    caller.rows()
    redact(int(ANN))
    assert len(caller.rows()) == 20
    assert {row["customer_id"] for row in caller.rows()} == {BEN}


def test_a_writer_that_has_begun_is_waited_for(caller, deliver, work, settings, redis_client):
    """Its batches have their numbers and are not to be seen yet."""
    caller.post(by(HERS, event()), customer=ANN)
    [(_, fields)] = redis_client.xrange("{t0}:stream")
    redis_client.delete("{t0}:stream")
    deliver("customers/redact", redaction(int(ANN)))
    began, stored = threading.Event(), threading.Event()

    def write():
        with connect(settings.database_url, "worker") as connection, connection.transaction():
            Writer(statement_timeout=10_000).write(connection, [Batch.from_entry(fields)])
            began.set()
            stored.wait(0.5)

    writer = threading.Thread(target=write)
    writer.start()
    began.wait(5)
    work()
    writer.join()
    assert caller.rows() == []


def test_the_first_batch_of_all_is_found_though_it_arrives_after_the_search(
    caller, deliver, work, database, settings, redis_client
):
    caller.post(by(HERS, event()), customer=ANN)
    [(_, fields)] = redis_client.xrange("{t0}:stream")  # as a worker holds it
    deliver("customers/redact", redaction(int(ANN)))
    work()
    with connect(settings.database_url, "worker") as connection:
        Writer(statement_timeout=10_000).write(connection, [Batch.from_entry(fields)])
    database.execute("UPDATE privacy_requests SET due_at = now()")
    work()
    assert caller.rows() == []


@pytest.mark.slow
def test_a_search_that_began_long_ago_is_repeated_before_the_request_is_done(
    deliver, work, database, monkeypatch
):
    deliver("customers/redact", redaction(int(ANN)))
    database.execute("UPDATE privacy_requests SET started_at = now() - interval '1 minute'")
    monkeypatch.setattr(work_module, "SETTLE", timedelta(seconds=1))
    looks = work(2)
    assert [look.completed_at for look in looks] == [None, None]
    time.sleep(1)
    assert work(1)[0].outcome == "done"


def test_hashed_addresses_are_stored_and_found(calling, settings, deliver, caller, work, found):
    hashing = calling(hash_emails=True, email_hash_key=KEY, intake="store")
    hashing.post(by(HERS, given(" Ann@example.com", note="me@home"), event()))
    hashing.post(by("x", {**given("ANN@example.com"), "timestamp": "never"}))
    stored = [row["properties"] for row in caller.rows() if "form" in row["properties"]]
    assert stored == [
        {"form": {"mail": addresses.hashed("ann@example.com", KEY)}, "note": "me@home"}
    ]
    assert found('ample.com"') == []
    caller._client = hashing._client
    deliver("customers/redact", redaction(email="ann@EXAMPLE.com"))
    work()
    assert (caller.rows(), caller.rejected()) == ([], [])


def test_the_raw_user_agent_is_never_stored_where_it_is_not_wanted(calling, found):
    strict = calling(user_agent_retention_days=0, intake="store")
    context = {"$raw_user_agent": "Mozilla/5.0 (iPhone) Secret/1"}
    strict.post(by(HERS, event(), event(timestamp="never"), **context))
    assert found("Secret/1") == []
    [batch] = strict.rows("batches", "id")
    assert (batch["device_class"], batch["context"]["$host"]) == ("mobile", "yourstore.com")
    assert strict.rejected()[0]["context"]["$host"] == "yourstore.com"


def test_neither_a_lock_nor_a_long_statement_is_in_the_way_of_ingestion(
    caller, settings, deliver, work
):
    caller.post(by(HERS, event()), customer=ANN)
    caller.rows()
    deliver("customers/redact", redaction(int(ANN)))
    with connect(settings.database_url, "tests") as other, other.transaction():
        other.execute("INSERT INTO shops (domain) VALUES ('x.myshopify.com')")
        other.execute(
            "INSERT INTO stored_batches (id, received_at, shop_id, context)"
            " VALUES (0, now(), 1, '{}')"
        )
        work()  # beside a transaction that holds locks on what it has written
    assert caller.rows() == []
