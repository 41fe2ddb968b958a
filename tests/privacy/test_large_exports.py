"""Exports of any size, and requests that fail for good."""

import json
import tracemalloc

import psycopg
import pytest

from app.health.check import FIX, check
from app.privacy import export as export_module
from app.privacy import pieces
from app.privacy import requests as requests_module
from app.privacy import work as work_module
from tests.calls import CONTEXT, SHOP, body, event
from tests.privacy.bodies import redaction
from tests.privacy.test_requests import exported, requests

pytestmark = pytest.mark.slow

MB = 1024 * 1024


@pytest.fixture
def small_pieces(monkeypatch):
    monkeypatch.setattr(export_module, "PIECE_BYTES", 5_000)


def of(database, table="export_pieces"):
    return database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


@pytest.fixture
def ann(caller):
    """Twelve events, three of them rejected, and two of another customer."""
    for _ in range(3):
        caller.post(body(*(event() for _ in range(3)), event(timestamp=1)), customer="7")
    other = {**CONTEXT, "genlook_client_id": "another"}
    caller.post(body(event(), event(), context=other), customer="8")
    caller.rows()


def test_an_export_of_many_pieces_is_whole_and_in_order(
    small_pieces, ann, deliver, work, caller, database
):
    deliver("customers/data_request", redaction(7))
    work()
    assert of(database) > 3
    shown = exported(database)
    stored = [row["insert_id"] for row in caller.rows() if row["customer_id"] == "7"]
    assert sorted(row["insert_id"] for row in shown["events"]) == sorted(stored)
    assert len(shown["events"]) == 9
    assert len(shown["rejected_events"]) == 3
    assert shown.keys() == {
        "shop", "customer_id", "emails", "client_ids", "requested_at", "made_at",
        "events", "rejected_events",
    }  # fmt: skip


def test_a_piece_holds_no_more_than_its_bytes_or_one_row(
    small_pieces, ann, deliver, work, database
):
    deliver("customers/data_request", redaction(7))
    work()
    longest = database.execute(
        "SELECT max(length(rows)) FROM export_pieces WHERE rows LIKE '%},%{%'"
    ).fetchone()[0]
    assert longest < 2 * 5_000


def test_an_export_without_rows_is_json_too(deliver, work, database):
    deliver("customers/data_request", redaction(7))
    work()
    shown = exported(database)
    assert (shown["events"], shown["rejected_events"]) == ([], [])


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_an_export_beyond_what_a_value_holds_is_made_in_little_memory(
    caller, deliver, work, database
):
    caller.post(body(event()), customer="7")
    caller.rows()
    database.execute(
        "INSERT INTO events (shop_id, occurred_at, insert_key, event, properties, batch_id)"
        " SELECT shop_id, occurred_at + n * interval '1 s', gen_random_uuid(), event,"
        " jsonb_build_object('a', repeat(md5(n::text), 1000)), batch_id"
        " FROM events, generate_series(1, 9000) AS n"
    )
    deliver("customers/data_request", redaction(7))
    tracemalloc.start()
    work()
    _, peak = tracemalloc.get_traced_memory()
    [request] = requests_module.find(database)
    tracemalloc.reset_peak()
    size = sum(map(len, pieces.as_json(database, request)))
    _, peak_of_reading = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert request.outcome == "done"
    assert size > 270 * MB
    assert peak < 40 * MB
    assert peak_of_reading < 40 * MB


@pytest.mark.parametrize("topic", ["customers/redact", "shop/redact"])
def test_an_erasure_takes_the_pieces_along(small_pieces, ann, deliver, work, database, topic):
    deliver("customers/data_request", redaction(7))
    work()
    assert of(database)
    deliver(topic, redaction(7))
    work()
    assert of(database) == 0


def test_another_customers_export_outlives_an_erasure(ann, deliver, work, database):
    deliver("customers/data_request", redaction(8))
    work()
    deliver("customers/redact", redaction(7))
    work()
    assert len(exported(database)["events"]) == 2


def test_pieces_expire_with_their_export(ann, deliver, work, database):
    deliver("customers/data_request", redaction(7))
    work()
    assert pieces.delete_orphans(database) == 0
    database.execute("UPDATE privacy_requests SET expires_at = now()")
    requests_module.delete_expired(database)
    assert pieces.delete_orphans(database) > 0
    assert of(database) == 0


def test_what_an_interrupted_attempt_has_left_does_not_count(
    small_pieces, ann, deliver, work, database, monkeypatch
):
    def interrupted(*words):
        for number, found in enumerate(export_module.export(*words)):
            if number == 2:
                raise SystemExit
            yield found

    deliver("customers/data_request", redaction(7))
    with monkeypatch.context() as patched:
        patched.setattr(work_module, "export", interrupted)
        with pytest.raises(SystemExit):
            work()
    assert of(database) == 2
    database.execute("UPDATE privacy_requests SET due_at = now()")
    work()
    assert len(exported(database)["events"]) == 9
    assert database.execute("SELECT count(DISTINCT attempt) FROM export_pieces").fetchone() == (1,)


def test_an_export_that_an_earlier_release_has_made_is_shown(run, ann, deliver, work, database):
    deliver("customers/data_request", redaction(7))
    work()
    whole = {"shop": SHOP, "events": [{"insert_id": "x"}], "rejected_events": []}
    database.execute("UPDATE privacy_requests SET export = %s", [json.dumps(whole)])
    assert json.loads(run("export", "1")) == whole


@pytest.fixture
def failing(deliver, database, monkeypatch):
    """A request for an export, which fails with an error as often as it is tried."""
    tried = []

    def fail_with(error):
        def export(*_):
            tried.append(1)
            raise error

        monkeypatch.setattr(work_module, "export", export)
        return tried

    deliver("customers/data_request", redaction(7))
    return fail_with


def try_often(work, database, times=30):
    for _ in range(times):
        database.execute("UPDATE privacy_requests SET due_at = now() WHERE due_at < '9998-01-01'")
        work(most=1)


def test_an_error_that_does_not_heal_is_tried_a_few_times_and_then_seen(
    failing, run, work, database, caplog
):
    tried = failing(psycopg.errors.ProgramLimitExceeded("string too long"))
    try_often(work, database)
    assert len(tried) == 10
    assert "has failed (ProgramLimitExceeded: 54000): flask privacy retry 1" in run("list")
    assert "has failed" in run("export", "1", code=1)
    assert [record.action for record in caplog.records].count("privacy_failed") == 1


def test_a_failed_request_is_tried_again_when_somebody_says_so(
    ann, failing, run, work, database, monkeypatch
):
    failing(psycopg.errors.ProgramLimitExceeded("string too long"))
    assert "no request 1 that has failed" in run("retry", "1", code=1)
    try_often(work, database)
    monkeypatch.setattr(work_module, "export", export_module.export)
    assert run("retry", "1") == "Request 1 is tried again.\n"
    assert of(database, "privacy_failures") == 0
    work()
    assert len(exported(database)["events"]) == 9


def test_pauses_grow_between_the_tries(failing, work, database):
    failing(ZeroDivisionError())
    pauses = []
    for _ in range(4):
        database.execute("UPDATE privacy_requests SET due_at = now()")
        work(most=1)
        [(pause,)] = database.execute(
            "SELECT extract(epoch FROM due_at - now())::float FROM privacy_requests"
        )
        pauses.append(round(pause))
    assert pauses == [1, 2, 4, 8]


def test_what_heals_by_itself_is_tried_until_it_does(failing, work, database):
    tried = failing(psycopg.errors.DiskFull("no room"))
    try_often(work, database)
    assert len(tried) == 30
    assert database.execute("SELECT tries FROM privacy_failures").fetchall() == [(0,)]


def test_an_erasure_takes_a_failed_export_along(failing, work, caller, database, deliver):
    failing(ZeroDivisionError())
    try_often(work, database)
    deliver("customers/redact", redaction(7))
    work()
    assert [row["outcome"] for row in requests(caller)] == ["erased", "done"]
    assert "ann" not in str(requests(caller)[0])


def test_a_check_names_the_requests_that_have_failed(failing, work, database, settings):
    failing(ZeroDivisionError())
    try_often(work, database)
    [found] = [one for one in check(settings) if one.subject == "privacy"]
    assert found.level == FIX
    assert "requests 1 have failed" in found.text


def test_the_release_before_can_read_a_request_that_has_failed(failing, work, database):
    failing(ZeroDivisionError())
    try_often(work, database)
    [due_at] = database.execute("SELECT due_at FROM privacy_requests").fetchone()
    assert due_at.year >= 9998


def test_a_traceback_is_logged_of_what_does_not_heal_and_of_nothing_else(
    failing, work, database, caplog
):
    failing(psycopg.errors.DiskFull("no room"))
    try_often(work, database, times=1)
    failing(psycopg.errors.ProgramLimitExceeded("string too long"))
    try_often(work, database, times=1)
    told = [record for record in caplog.records if record.action == "privacy_waits"]
    assert [(record.levelname, bool(record.exc_info)) for record in told] == [
        ("WARNING", False), ("ERROR", True)
    ]  # fmt: skip
