"""flask privacy list|export|erase"""

import json
import time
from contextlib import closing

import pytest
from click.testing import CliRunner

from app.cli import privacy
from app.intake.nodes import Nodes
from app.intake.spool import Spool
from app.intake.spool_notice import SpoolNotice, waits_since_before
from tests.calls import CONTEXT, SHOP, body, event
from tests.privacy.bodies import redaction


@pytest.fixture
def ann(caller):
    """Two events stored, and two that wait in the stream, with nobody there to store them."""
    caller.post(body(event(), event(timestamp="no")), customer="7")
    caller.post(body(event()))
    caller.rows()
    caller.post(body(event()), customer="7")
    caller.post(body(event(insert_id="other"), context={**CONTEXT, "genlook_client_id": "b"}))


@pytest.mark.slow
def test_an_erasure_shows_what_it_would_do_and_then_does_it(run, ann, caller, redis_client):
    words = ("erase", "--shop", SHOP, "--customer", "7")
    numbers = "2 events, 2 batches, 1 rejected_events, 1 waiting_batches.\n"
    assert run(*words, "--dry-run") == f"Would erase: {numbers}"
    assert redis_client.xlen("{t0}:stream") == 2
    assert run(*words) == f"Request 1 is done. Erased: {numbers}"
    assert redis_client.xlen("{t0}:stream") == 1
    assert [row["insert_id"] for row in caller.rows()] == ["other"]
    assert run(*words) == "Request 2 is done. Erased: nothing.\n"
    assert "erase_customer  done: 2 events" in run("list")
    assert run("list", "--shop", "b.myshopify.com") == "There are no requests.\n"


@pytest.mark.slow
def test_it_shows_too_which_batches_would_be_empty(run, caller):
    given = event(event="widget:email_collected", properties={"email": "ann@example.com"})
    caller.post(body(given, event()), customer="8")
    caller.post(body({**given, "$insert_id": "alone"}), customer="8")
    caller.rows()
    words = ("erase", "--shop", SHOP, "--email", "ann@example.com")
    assert run(*words, "--dry-run") == "Would erase: 2 events, 1 batches.\n"
    assert run(*words) == "Request 1 is done. Erased: 2 events, 1 batches.\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "left"),
    [
        (("--client", CONTEXT["genlook_client_id"]), {"other"}),
        (("--email", "ANN@example.com"), {"other"}),
        (("--everything", "--yes"), set()),
    ],
)
def test_a_browser_an_address_a_whole_shop(run, ann, caller, words, left):
    mail = event(event="widget:email_collected", properties={"mail": "ann@example.com"})
    caller.post(body(mail))
    caller.post(body(event()), customer="")
    caller.rows()
    run("erase", "--shop", SHOP, *words)
    named = {row["insert_id"] for row in caller.rows() if row["customer_id"] is None}
    assert named == left


def test_what_is_not_clear_is_not_erased(run):
    run("erase", "--shop", SHOP, code=2)
    run("erase", "--shop", SHOP, "--everything", "--customer", "7", code=2)
    run("erase", "--shop", "a shop", "--customer", "7", code=2)


def test_an_export_is_shown_to_the_operator(run, ann, deliver, work):
    deliver("customers/data_request", redaction(7))
    assert "has no export: open" in run("export", "1", code=1)
    work()
    assert "open" in run("list")  # some of it still waits in the stream


def test_an_export_that_has_expired_is_not_shown(run, ann, caller, deliver, work, database):
    caller.rows()
    deliver("customers/data_request", redaction(7))
    work()
    database.execute("UPDATE privacy_requests SET expires_at = now()")
    assert "expired or erased" in run("export", "1", code=1)
    assert "expired or erased" in run("list")


def test_an_export_is_json(run, caller, deliver, work):
    caller.post(body(event(insert_id="x")), customer="7")
    caller.rows()
    deliver("customers/data_request", redaction(7))
    work()
    assert json.loads(run("export", "1"))["events"][0]["insert_id"] == "x"
    assert "flask privacy export 1" in run("list")
    run("export", "2", code=1)


def test_a_machine_tells_what_is_in_its_spool(caller, calling, redis_client, tmp_path):
    offline = calling(redis_url="redis://127.0.0.1:1", database_url="postgresql://127.0.0.1:1/x")
    offline.post(body(event()))
    with closing(Spool(tmp_path / "spool", max_bytes=2**20)) as spool:
        notice = SpoolNotice(Nodes(redis_client), spool)
        notice.post()
        assert waits_since_before(Nodes(redis_client), time.time())
        assert not waits_since_before(Nodes(redis_client), time.time() - 60)
        spool.remove([one.id for one in spool.oldest(10)])
        notice.post()
    assert not waits_since_before(Nodes(redis_client), time.time())


def test_nothing_is_done_while_a_machine_has_something_in_its_spool(
    deliver, work, caller, redis_client
):
    redis_client.set("{t0}:spool:elsewhere", 1)
    deliver("customers/redact", redaction(7))
    assert len(work(most=3)) == 3
    assert caller.rows("privacy_requests", "id")[0]["outcome"] is None
    redis_client.delete("{t0}:spool:elsewhere")
    work()
    assert caller.rows("privacy_requests", "id")[0]["outcome"] == "done"


@pytest.mark.slow
def test_a_whole_shop_is_erased_only_after_a_yes(run, ann, caller):
    words = ("erase", "--shop", SHOP, "--everything")
    assert "Would erase: " in run(*words, "--dry-run")
    for answer in (None, "n\n"):
        assert "Aborted!" in run(*words, code=1, answer=answer)
    assert len(caller.rows()) == 4
    assert "is done. Erased: 4 events" in run(*words, answer="y\n")


@pytest.mark.slow
def test_a_script_says_yes_beforehand(run, ann, caller):
    assert "is done" in run("erase", "--shop", SHOP, "--everything", "--yes")
    assert caller.rows() == []


@pytest.mark.parametrize("id_", ["0", "9223372036854775808", "1" * 5_000, "x"])
def test_an_id_that_cannot_be_is_told(run, id_):
    assert "Invalid value for 'ID'" in run("export", "--", id_, code=2)


@pytest.fixture
def erase(run, monkeypatch):
    """`flask privacy erase` of a customer; what it says and what it says beside that."""
    monkeypatch.setattr("app.privacy.commands._ERASE_TIMEOUT", 0.3)

    def erase(*more):
        result = CliRunner().invoke(privacy, ["erase", "--shop", SHOP, "--customer", "7", *more])
        return result.exit_code, result.stdout, result.stderr

    return erase


def test_what_takes_long_is_left_to_the_worker_and_it_is_said_beside(erase, redis_client):
    redis_client.set("{t0}:spool:elsewhere", 1)
    assert erase() == (
        1,
        "Request 1 is not done yet, the worker goes on. Erased so far: nothing.\n",
        "Something still waits, or a server is away: see `flask status`.\n",
    )


def test_an_erasure_that_fails_says_why(erase, monkeypatch):
    def fail(*_):
        raise ZeroDivisionError

    monkeypatch.setattr("app.privacy.requests.MOST_TRIES", 1)
    monkeypatch.setattr("app.privacy.scope.find", fail)
    code, said, beside = erase()
    assert (code, said) == (1, "")
    assert beside == ("Error: Request 1 has failed (ZeroDivisionError): flask privacy retry 1\n")


def test_what_waits_of_a_newer_release_stops_it(erase, caller, redis_client):
    caller.post(body(event()), customer="7")
    [(_, fields)] = redis_client.xrange("{t0}:stream")
    fields[b"batch"] += b"\tmore"
    redis_client.xadd("{t0}:stream", fields)
    code, said, beside = erase("--dry-run")
    assert (code, said) == (1, "")
    assert beside.startswith("Error: Stopped, safe to repeat: ")
    assert beside.count("\n") == 1


def test_without_postgres_or_redis_it_says_so(erase, monkeypatch):
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    code, _, beside = erase("--dry-run")
    assert code == 1
    assert beside.startswith("Error: Stopped, safe to repeat: ConnectionError")
