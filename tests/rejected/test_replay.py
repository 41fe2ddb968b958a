"""rejected_events: kept within bounds, looked at, tried again."""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from app.store import rejected as store
from app.store import walks
from app.tracking import schemas
from tests.calls import CONTEXT, SHOP, body, event
from tests.processes.running import flask

pytestmark = pytest.mark.slow


@pytest.fixture
def run(settings):
    """Runs `flask rejected …` as a process; its output."""

    def run(*words):
        result = flask(settings, "rejected", *words)
        assert "Traceback" not in result.stderr
        return result

    return run


@pytest.fixture
def stricter(monkeypatch):
    """Until now 5 characters were too many for an id."""
    monkeypatch.setattr(schemas, "MAX_INSERT_ID", 4)
    return monkeypatch


def test_what_is_valid_today_is_stored_as_if_it_came_then(caller, run, stricter):
    good = event(insert_id="long enough", extra=1)
    caller.post(body(event(insert_id="a"), good), customer="77")
    caller.rejected()
    stricter.undo()

    assert run("replay").stdout.endswith("1 stored, 0 still rejected.\n")
    first, row = caller.rows()
    for column in ("received_at", "customer_id", "context", "client_id", "occurred_at"):
        assert row[column] == first[column], column
    assert row["extra"] == {"extra": 1}
    assert caller.rejected() == []


def test_what_is_still_invalid_stays_with_its_reason(caller, run):
    caller.post(body(event(), event(timestamp="soon")))
    caller.rejected()
    assert "timestamp must be an ISO 8601" in run("replay").stdout
    assert len(caller.rejected()) == 1


def test_a_replay_is_safe_to_repeat_and_after_the_callers_own_retry(caller, run, stricter):
    late = body(event(insert_id="long enough"))
    caller.post(late)
    caller.rejected()
    stricter.undo()
    caller.post(late)
    assert len(caller.rows()) == 1
    assert run("replay").returncode == 0
    assert run("replay").stdout.endswith("0 stored, 0 still rejected.\n")
    assert len(caller.rows()) == 1
    assert caller.rejected() == []


def test_a_whole_body_is_tried_again(caller, run, stricter):
    stricter.setattr(schemas, "MAX_EVENTS", 1)
    assert caller.post(body(event(insert_id="a"), event(insert_id="b"))).status_code == 400
    caller.rejected()
    stricter.undo()
    run("replay")
    assert len(caller.rows()) == 2


def test_a_body_that_is_no_json_stays(caller, run):
    caller.post(raw=b"{")
    caller.rejected()
    assert "1 still rejected" in run("replay").stdout


def test_an_event_that_postgres_refused_is_tried_again_as_it_was(caller, run, redis_client):
    caller.post(body(event(insert_id="x")))
    [(entry, fields)] = redis_client.xrange("{t0}:stream")
    redis_client.xdel("{t0}:stream", entry)
    damaged = fields[b"events"].replace(b"2024-01-15", b"2024-02-31")
    redis_client.xadd("{t0}:stream", {**fields, b"events": damaged})
    assert len(caller.rejected()) == 1
    assert "UNSTORABLE" in run("list").stdout
    assert run("replay").returncode == 1  # the database has not learned of a 31st of February
    assert len(caller.rejected()) == 1
    caller._database.execute(
        "UPDATE rejected_events SET payload = replace(payload, '2024-02-31', '2024-01-31')"
    )
    run("replay")
    assert [row["insert_id"] for row in caller.rows()] == ["x"]


def test_the_list_is_by_shop_and_code_the_newest_first(caller, run):
    caller.post(raw=b"{", shop="one.myshopify.com")
    caller.post(body(event(timestamp=1)), shop="two.myshopify.com")
    caller.rejected()
    lines = run("list").stdout.splitlines()
    assert ["two.myshopify.com" in lines[0], "one.myshopify.com" in lines[1]] == [True, True]
    assert "timestamp must be a string" in lines[0]
    assert len(run("list", "--shop", "one.myshopify.com").stdout.splitlines()) == 1
    assert len(run("list", "--code", "MALFORMED_JSON").stdout.splitlines()) == 1
    assert len(run("list", "--limit", "1").stdout.splitlines()) == 1


def test_one_is_shown_whole(caller, run):
    caller.post(body(event(), event(timestamp=1, insert_id="x")), customer="7")
    [row] = caller.rejected()
    shown = json.loads(run("show", str(row["id"])).stdout)
    assert json.loads(shown["payload"])["$insert_id"] == "x"
    assert (shown["context"], shown["customer_id"]) == (CONTEXT, "7")
    assert run("show", "999999").returncode == 1


@pytest.fixture
def small_bounds(monkeypatch):
    for name, value in [("MOST_ROWS", 8), ("MOST_OF_A_CAUSE", 3), ("FIRST_OF_A_CAUSE", 1)]:
        monkeypatch.setattr(store, name, value)


def kept(caller):
    return [row["details"][0]["message"] for row in caller.rejected()]


def test_junk_does_not_push_out_what_is_rejected_for_another_reason(caller, small_bounds):
    for _ in range(2):
        caller.post(body(*(event(timestamp=None) for _ in range(5))))
        caller.rejected()
    caller.post({"events": [event()] * 51, "context": {}})
    caller.post({"events": [event()] * 52, "context": {}})
    assert Counter(message[:20] for message in kept(caller)) == {
        "is required": 3,
        "must contain 1 to 50": 2,
    }


def test_beyond_the_bound_of_a_day_the_first_of_each_cause_is_kept(caller, small_bounds):
    junk = [{"timestamp": None}, {"event": "no"}, {"properties": 1}]
    for changes in junk:
        caller.post(body(*(event(**changes) for _ in range(5))))
    assert len(kept(caller)) == 8  # three, three, and the rest of eight
    caller.post(body(*(event(insert_id="") for _ in range(5))))
    assert len(kept(caller)) == 9


def test_what_is_written_twice_is_counted_once(caller, small_bounds, redis_client):
    """The transaction meets an event that is stored already, and is begun again."""
    stored = event()
    caller.post(body(stored))
    caller.rows()
    redis_client.flushall()
    caller.post(body(stored, *(event(timestamp=None) for _ in range(3))))
    assert len(kept(caller)) == 3


def test_large_junk_does_not_push_out_either(caller, small_bounds, monkeypatch):
    monkeypatch.setattr(store, "MOST_BYTES", 6_000)
    junk = [event(timestamp=None, properties={"a": "x" * 5_000}) for _ in range(3)]
    caller.post(body(*junk, event(event="no")))
    assert [message[:11] for message in kept(caller)] == ["is required"] * 2 + ["must be cat"]


def test_each_shop_has_a_cap_for_the_day(caller, small_bounds):
    bad = [event(timestamp=None) for _ in range(5)]
    assert caller.post(body(event(), *bad)).json["accepted"] == 1
    caller.post(body(*bad))
    caller.post(body(*bad), shop="another.myshopify.com")
    shops = [row["shop_domain"] for row in caller.rejected()]
    assert sorted(shops) == ["a-shop.myshopify.com"] * 3 + ["another.myshopify.com"] * 3
    assert len(caller.rows()) == 1


def test_an_accepted_event_that_cannot_be_stored_is_kept_beyond_the_cap(
    caller, redis_client, monkeypatch
):
    monkeypatch.setattr(store, "MOST_ROWS", 1)
    monkeypatch.setattr(store, "MOST_OF_A_CAUSE", 0)
    redis_client.xadd("{t0}:stream", {"nonsense": "1"})
    assert [row["code"] for row in caller.rejected()] == ["UNREADABLE_ENTRY"]


def test_what_is_older_than_its_retention_is_deleted(caller, database, monkeypatch):
    monkeypatch.setattr(walks, "STEP_ROWS", 2)
    for _ in range(6):
        caller.post(raw=b"{")
    caller.rejected()
    database.execute(
        "UPDATE rejected_events SET received_at = %s WHERE id <= 5",
        [datetime.now(UTC) - timedelta(days=31)],
    )
    assert store.delete_expired(database, 30) == 5
    assert store.delete_expired(database, 30) == 0
    assert len(caller.rejected()) == 1


@pytest.mark.parametrize(
    "words",
    [
        ("list", "--limit", "-1"),
        ("list", "--limit", "0"),
        ("list", "--limit", "99999999999"),
        ("replay", "--limit", "-1"),
        ("replay", "--id", "9223372036854775808"),
        ("show", "9" * 30),
    ],
)
def test_a_number_that_cannot_be_is_told(run, words):
    result = run(*words)
    assert result.returncode == 2
    assert "is not in the range" in result.stderr


def test_an_empty_list_says_so(run):
    result = run("list")
    assert (result.returncode, result.stdout) == (0, "")
    assert result.stderr == "There are no rejected events.\n"


def test_what_an_older_release_refused_of_a_newer_one_is_stored_by_the_newer(
    caller, run, database, monkeypatch
):
    """A worker without the check put the lines of the newer release here."""
    caller.post(body(event(insert_id="x")))
    caller.rows()
    [batch] = caller.rows("batches", "id")
    payload = "\t".join([batch["received_at"].isoformat(), *["\\N"] * 8, "{}", *["\\N"] * 3])
    line = "\t".join(["2024-01-15T10:30:00Z", "ab" * 16, "\\N", "w:x", "late", "\\N", "\\N"])
    database.execute(
        "INSERT INTO rejected_events (reject_key, shop_domain, received_at, code, details, payload)"
        " VALUES (%s, %s, now(), 'UNSTORABLE', '[]', %s), (%s, %s, now(), 'UNSTORABLE', '[]', %s)",
        [
            "00" * 16, SHOP, f"{payload}\n{line}",
            "11" * 16, SHOP, f"{payload}\tmore\n{line}",
        ],
    )  # fmt: skip
    assert "of a newer release" in run("replay").stdout
    assert [row["insert_id"] for row in caller.rows()] == ["late", "x"]
    assert len(caller.rejected()) == 1
