"""What a search, a count and an export tell of their progress, by which a lease is renewed; and
whose columns an export shows."""

from contextlib import closing
from datetime import UTC, datetime

import pytest

from app.privacy import erasure, scope
from app.privacy.export import export
from app.privacy.subject import Subject
from app.privacy.waiting import Journals
from app.store import walks
from tests.calls import SHOP, body, event
from tests.privacy.test_steps import ANN, BEN, LATER, MAIL, by, given, silent


@pytest.fixture
def journals(settings):
    with closing(Journals.of(settings)) as journals:
        yield journals


class Told(list):
    def __call__(self, table, rows):
        self.append((table, rows))

    def of(self, table):
        return [rows for name, rows in self if name == table]


@pytest.fixture
def stored(caller, monkeypatch):
    """Two batches of hers and one of his that has her address."""
    monkeypatch.setattr(walks, "WINDOW_ROWS", 2)
    caller.post(by("hers", event(insert_id="a"), event(timestamp=1)), customer=ANN)
    caller.post(by("hers", event(insert_id="b"), event(timestamp=1)))
    caller.post(by("his", given(insert_id="c"), event(insert_id="d")), customer=BEN)
    caller.rows()
    return Subject.build(customer_id=ANN, emails=[MAIL])


def test_each_step_of_a_search_is_told(stored, database, journals):
    told = Told()
    scope.find(database, journals, SHOP, stored, LATER, told)
    assert sum(told.of("batches")) == 2 * 3  # by the customer, and by her browser
    assert len(told.of("batches")) == 2 * 2
    assert told.of("events")
    assert set(told.of("events")) == {walks.WINDOW_ROWS}
    assert told.of("rejected_events") == [2]


def test_each_step_of_a_count_is_told(stored, database, journals):
    _, found = scope.find(database, journals, SHOP, stored, LATER, silent)
    told = Told()
    number = erasure.count(database, 1, found, told)
    assert sum(told.of("events")) == 2
    assert number == {"events": 3, "batches": 2, "rejected_events": 2}
    assert len(told.of("events")) > 1


def test_each_piece_of_an_export_is_told(stored, database, journals):
    _, found = scope.find(database, journals, SHOP, stored, LATER, silent)
    told = Told()
    rows = [(kind, len(rows)) for kind, rows in export(database, 1, found, told)]
    assert told == rows
    assert sum(told.of("events")) == 3
    assert sum(told.of("rejected_events")) == 2


@pytest.mark.parametrize("batches", [1, 2])
def test_an_export_shows_her_batch_whole_and_nothing_of_whose_batch_has_her_address(
    caller, database, journals, batches
):
    for _ in range(batches):
        caller.post(by("hers", event()), customer=ANN)
    caller.post(by("his", given(insert_id="of his"), event()), customer=BEN)
    caller.rows()
    who = Subject.build(customer_id=ANN, emails=[MAIL])
    _, found = scope.find(database, journals, SHOP, who, LATER, silent)
    rows = [row for _, rows in export(database, 1, found, silent) for row in rows]
    hers = [row for row in rows if row["insert_id"] != "of his"]
    [of_his] = [row for row in rows if row["insert_id"] == "of his"]
    assert len(hers) == batches
    assert {(row["customer_id"], row["client_id"]) for row in hers} == {(ANN, "hers")}
    assert all(row["received_at"] and row["context"] and row["session_id"] for row in hers)
    shown = {name for name, value in of_his.items() if value}
    assert shown == {"event", "occurred_at", "sent_timestamp", "insert_id", "properties"}


def test_a_dry_run_names_what_a_shop_has_stored_and_what_waits(caller, database, journals):
    caller.post(body(event(), event(), event(timestamp=1)))
    caller.post(body(event()))
    caller.post(body(event(), event(timestamp=1)), shop="b.myshopify.com")
    caller.rows()
    caller.post(body(event()))
    count = scope.count_shop(database, journals, SHOP, datetime.now(UTC))
    assert count == {"events": 3, "batches": 2, "rejected_events": 1, "waiting_batches": 1}
