"""An erasure goes over the tables in steps, and comes back for what is late: nothing that was meant
is skipped where a step ends, and nothing else goes."""

import os
import signal
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from redis import RedisError

from app.intake import backlog
from app.privacy import erasure, requests, scope, search_rejected, waiting
from app.privacy.search import find, find_late, find_late_of_shop
from app.privacy.subject import Subject
from app.privacy.waiting import Journals
from app.store import walks
from app.store.shops import find_id
from tests.calls import CONTEXT, SHOP, body, event
from tests.processes.running import wait_until

ANN, BEN = "207119551", "999"
LATER = datetime(3000, 1, 1, tzinfo=UTC)
MAIL = "ann@example.com"


def silent(*_):
    pass


def by(client, *events):
    return body(*events, context={**CONTEXT, "genlook_client_id": client})


def fresh(document):
    """With ids of its own."""
    events = [{**one, "$insert_id": event()["$insert_id"]} for one in document["events"]]
    return {**document, "events": events}


def given(**fields):
    return event(event="widget:email_collected", properties={"mail": MAIL}, **fields)


@pytest.fixture
def small_steps(monkeypatch):
    monkeypatch.setattr(walks, "WINDOW_ROWS", 2)
    monkeypatch.setattr(walks, "STEP_ROWS", 2)
    monkeypatch.setattr(search_rejected, "_ROWS_AT_ONCE", 2)


@pytest.fixture
def journals(settings):
    with closing(Journals.of(settings)) as journals:
        yield journals


@pytest.mark.parametrize("number", [2, 3, 4])
def test_of_any_number_of_rows_all_go(caller, database, journals, small_steps, number):
    sent = [
        (by("hers", event(), event(timestamp=1)), ANN),
        (by("his", given(), event(), event(timestamp=1)), BEN),
    ]
    for turn in range(number):  # in turns, so that each of them is somewhere the last of a step
        for document, customer in sent if turn % 4 < 2 else reversed(sent):
            caller.post(fresh(document), customer=customer)
    caller.rows()
    who = Subject.build(customer_id=ANN, emails=[MAIL])
    told, deleted = [], []
    would = scope.count(database, journals, SHOP, who, LATER, lambda *step: told.append(step))
    _, found = scope.find(database, journals, SHOP, who, LATER, silent)
    erasure.erase(database, 1, found, lambda *step: deleted.append(step))
    went = {table: sum(n for name, n in deleted if name == table) for table, _ in deleted}
    assert went == +would == {
        "events": 2 * number, "batches": number, "rejected_events": number
    }  # fmt: skip
    assert max(rows for table, rows in deleted if table != "events") <= 2
    assert {row["customer_id"] for row in caller.rows()} == {BEN}
    assert len(caller.rows()) == len(caller.rejected()) == number
    assert len(caller.rows("batches", "id")) == number


def test_what_was_received_at_the_moment_of_asking_or_later_stays(
    caller, database, journals, small_steps
):
    caller.post(by("hers", event(), event(timestamp=1)), customer=ANN)
    caller.post(by("his", given()), customer=BEN)
    caller.rows()
    [hers, his] = [row["received_at"] for row in caller.rows("batches", "id")]
    who = Subject.build(customer_id=ANN, emails=[MAIL])

    def found(before):
        found = scope.find(database, journals, SHOP, who, before, silent)[1]
        return len(found.batch_ids), len(found.rejected_ids), len(found.events)

    moment = timedelta(microseconds=1)
    assert found(hers) == (0, 0, 0)
    assert found(hers + moment) == (1, 1, 0)
    assert found(his) == (1, 1, 0)
    assert found(his + moment) == (1, 1, 1)


def test_a_late_batch_of_another_customer_in_the_same_browser_stays(caller, database):
    caller.post(by("shared", event()), customer=ANN)
    caller.post(by("shared", event()), customer=BEN)
    caller.post(by("shared", event()))
    caller.post(by("another", event()))
    caller.rows()
    hers, _, nobodys, _ = sorted(row["id"] for row in caller.rows("batches", "id"))
    traces = Subject.build(customer_id=ANN).with_found(["shared"], []).fingerprints()
    found = find_late(database, find_id(database, SHOP), traces, LATER, 0)
    assert found.batch_ids == {hers, nobodys}
    assert found.browsers == {"shared"}


def test_late_is_what_has_a_higher_number_and_was_received_before(caller, database):
    for _ in range(3):
        caller.post(by("hers", event(), event(timestamp=1)), customer=ANN)
    caller.post(by("hers", event()), shop="b.myshopify.com", customer=ANN)
    caller.rows()
    rows = caller.rows("batches", "id")
    first, second, third = [row["id"] for row in rows if row["shop_id"] == rows[0]["shop_id"]]
    shop_id, traces = rows[0]["shop_id"], Subject.build(customer_id=ANN).fingerprints()
    assert find_late(database, shop_id, traces, LATER, first).batch_ids == {second, third}
    before = rows[2]["received_at"]
    assert find_late(database, shop_id, traces, before, first).batch_ids == {second}
    late = find_late_of_shop(database, SHOP, shop_id, before, first)
    assert late.batch_ids == {second}
    assert len(late.rejected_ids) == 2


def test_her_address_in_a_late_batch_of_another_costs_one_event(caller, database, small_steps):
    caller.post(by("his", given(insert_id="hers"), event(insert_id="kept")), customer=BEN)
    caller.post(by("his", event(event="widget:opened", properties={"mail": MAIL})), customer=BEN)
    caller.rows()
    traces = Subject.build(emails=[MAIL]).fingerprints()
    found = find_late(database, 1, traces, LATER, 0)
    assert (len(found.events), found.batch_ids) == (1, set())
    erasure.erase(database, 1, found, silent)
    assert "hers" not in {row["insert_id"] for row in caller.rows()}
    assert len(caller.rows()) == 2
    assert len(caller.rows("batches", "id")) == 2


def test_of_a_shop_all_of_before_goes_and_all_of_after_stays(caller, database, small_steps):
    for _ in range(3):
        caller.post(body(event(), event(timestamp="2019-01-01T00:00:00Z"), event(timestamp=1)))
    caller.post(body(), shop="b.myshopify.com")
    caller.rows()
    rows = caller.rows("batches", "id")
    last = rows[2]["received_at"]
    deleted = []
    erasure.erase_shop(database, SHOP, 1, last, lambda *step: deleted.append(step))
    went = {table: sum(n for name, n in deleted if name == table) for table, _ in deleted}
    assert went == {"events": 4, "batches": 2, "rejected_events": 2}
    assert len(caller.rows()) == 3
    assert database.execute("SELECT shop_id, visitor FROM report_marks").fetchall() != []
    assert {row["shop_id"] for row in caller.rows("contexts", "id")} == {1, 2}
    erasure.erase_shop(database, SHOP, 1, LATER, silent)
    assert {row["shop_id"] for row in caller.rows("contexts", "id")} == {2}
    assert len(caller.rows()) == 1
    assert len(caller.rows("batches", "id")) == 1


def test_of_a_shop_that_sends_nothing_more_the_rows_of_every_table_go_but_the_proof(
    caller, database
):
    caller.post(body())
    caller.post(body(), shop="b.myshopify.com")
    caller.rows()
    requests.add(database, requests.ERASE_SHOP, SHOP, Subject(), source="test", requested_at=LATER)
    database.execute("CREATE TABLE of_a_later_release (shop_domain text)")
    try:
        for shop in (SHOP, "b.myshopify.com"):
            database.execute("INSERT INTO of_a_later_release VALUES (%s)", [shop])
        erasure.erase_shop(database, SHOP, 1, LATER, silent)
        rows = database.execute("SELECT shop_domain FROM of_a_later_release").fetchall()
    finally:
        database.execute("DROP TABLE of_a_later_release")
    assert rows == [("b.myshopify.com",)]
    assert len(caller.rows("privacy_requests", "id")) == 1
    assert len(caller.rows("shops", "id")) == 2


def test_what_a_step_tells_is_part_of_it(caller, database, journals):
    """The proof and what it proves are both there or neither."""
    caller.post(by("hers", event(), event(timestamp=1)), customer=ANN)
    caller.post(by("his", given()), customer=BEN)
    caller.rows()
    who = Subject.build(customer_id=ANN, emails=[MAIL])
    _, found = scope.find(database, journals, SHOP, who, LATER, silent)
    for table in ("events", "batches", "rejected_events"):

        def fail(name, rows, table=table):
            if name == table and rows:
                raise ZeroDivisionError

        rows = len(caller.rows(table, "1"))
        with pytest.raises(ZeroDivisionError):
            erasure.erase(database, 1, found, fail)
        assert len(caller.rows(table, "1")) == rows, table


@pytest.mark.parametrize("kind", ["client", "e-mail"])
def test_whoever_has_no_customer_id_is_found_too(caller, database, journals, kind):
    caller.post(by("hers", given(), event()))
    caller.post(by("hers", event()), customer=BEN)
    caller.post(by("another", event()))
    caller.rows()
    named = {"client": {"client_ids": ["hers"]}, "e-mail": {"emails": [MAIL]}}[kind]
    found = find(database, 1, Subject.build(**named), LATER, silent)
    assert len(found.batch_ids) == {"client": 2, "e-mail": 1}[kind]


def test_what_waits_is_counted_by_whom_it_is_of_and_when_it_came(caller, database, journals):
    caller.post(by("hers", event()), customer=ANN)
    caller.post(by("his", event()), customer=BEN)
    caller.post(by("hers", event()), shop="b.myshopify.com", customer=ANN)
    who = Subject.build(customer_id=ANN)

    def counted(before):
        return (
            scope.count(database, journals, SHOP, who, before, silent)["waiting_batches"],
            scope.count_shop(database, journals, SHOP, before)["waiting_batches"],
        )

    assert counted(LATER) == (1, 2)
    assert counted(datetime(2020, 1, 1, tzinfo=UTC)) == (0, 0)
    assert journals.last_received(SHOP) > datetime.now(UTC) - timedelta(minutes=5)
    assert journals.last_received("c.myshopify.com") is None


@pytest.mark.parametrize("number", [2, 3, 4])
def test_of_what_waits_every_page_is_read(caller, calling, journals, monkeypatch, number):
    monkeypatch.setattr(waiting, "_SPOOLED_AT_ONCE", 2)
    monkeypatch.setattr(backlog, "_MANY", 2)
    away = {"redis_url": "redis://127.0.0.1:1", "database_url": "postgresql://127.0.0.1:1/x"}
    offline = calling(**away)
    for turn in range(number):
        caller.post(body(event()))
        offline.post(body(event()))
        caller.post(body(event()), shop=f"shop-{turn}.myshopify.com")
    assert len(list(journals.batches(SHOP))) == 2 * number
    assert journals.remove(SHOP, lambda batch: True) == 2 * number
    assert list(journals.batches(SHOP)) == []
    assert len(list(journals.batches("shop-0.myshopify.com"))) == 1


@pytest.mark.slow
def test_what_waits_is_found_and_forgotten_on_every_node_of_a_cluster(calling, settings, three):
    few, many = (calling(redis_url=three.url, stream_partitions=number) for number in (1, 8))
    shops = [f"shop-{number}.myshopify.com" for number in range(12)]
    for shop in shops:  # in one stream at first, in another one when there are more
        few.post(body(event()), shop=shop)
        many.post(body(event()), shop=shop)
    with closing(Journals.of(replace(settings, redis_url=three.url))) as journals:
        for shop in shops:
            assert len(list(journals.batches(shop))) == 2
            assert journals.remove(shop, lambda batch: True) == 2
            assert list(journals.batches(shop)) == []
            journals.forget_shop(shop)
    assert [list(server.scan_iter("*:shop-*")) for server in three.primaries] == [[], [], []]


@pytest.mark.slow
def test_a_search_waits_where_a_node_of_the_cluster_does_not_answer(calling, settings, three):
    caller = calling(redis_url=three.url, stream_partitions=8)
    caller.post(body(event()))
    there = three.owner(0)
    with closing(Journals.of(replace(settings, redis_url=three.url))) as journals:
        assert len(list(journals.batches(SHOP))) == 1
        os.kill(there.pid, signal.SIGSTOP)
        try:
            with pytest.raises(RedisError):
                list(journals.batches(SHOP))
            with pytest.raises(RedisError):
                journals.any_spooled(LATER)
        finally:
            os.kill(there.pid, signal.SIGCONT)
        wait_until(lambda: all(map(three.is_ok, three.servers)))


def test_a_user_agent_is_left_out_of_a_body_that_could_not_be_used(calling):
    strict = calling(user_agent_retention_days=0, intake="store")
    strict.post(raw=b'{"context": {"$raw_user_agent" : "Secret\\"/1", "a": "kept"}, "events": 5}')
    strict.post(raw=b'{"events": [], "context": {"a": "kept", "$raw_user_agent": "Secret/1')
    payloads = [row["payload"] for row in strict.rejected()]
    assert len(payloads) == 2
    assert all("kept" in payload and "Secret" not in payload for payload in payloads)
