"""What the worker does beside storing, and how often."""

from datetime import UTC, datetime, timedelta

import pytest
from psycopg import sql

from app.privacy import requests
from app.privacy.subject import Subject
from app.privacy.waiting import Journals
from app.privacy.work import Work
from app.store import shops
from app.store.connections import connect
from app.worker import housekeeping
from app.worker.housekeeping import Housekeeping
from app.worker.upkeep import Retention
from tests.calls import SHOP, body, event

HOUR = 60 * 60


@pytest.fixture
def clock(monkeypatch):
    now = [1_000.0]
    monkeypatch.setattr(housekeeping.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def keeping(settings, clock):
    """Housekeeping by a clock of its own."""
    duty = Housekeeping(
        lambda: connect(settings.database_url, "housekeeping"),
        Work(Journals.of(settings)),
        Retention(events=395, rejected=30, user_agents=30),
    )
    yield duty
    duty.let_go()


def grow_old(database):
    database.execute("UPDATE rejected_events SET received_at = now() - interval '31 days'")


def test_what_is_too_old_goes_at_once_and_again_every_six_hours(keeping, clock, caller, database):
    def left_after(seconds):
        caller.post(raw=b"{")
        caller.rejected()
        grow_old(database)
        clock[0] += seconds
        keeping.step()
        return len(caller.rejected())

    assert left_after(0) == 0
    assert left_after(6 * HOUR - 1) == 1
    assert left_after(2) == 0
    assert left_after(1) == 1
    assert left_after(6 * HOUR) == 0


def test_a_shop_that_is_back_is_noticed_within_seconds(keeping, clock, caller, database):
    keeping.step()
    caller.post(body())
    caller.rows()
    for _ in range(2):
        shops.mark_uninstalled(database, SHOP, datetime.now(UTC))
        caller.post(body(event()))
        caller.rows()
        clock[0] += 2
        keeping.step()
        assert shops.uninstalled_at(database, SHOP)
        clock[0] += 4
        keeping.step()
        assert shops.uninstalled_at(database, SHOP) is None


def test_while_a_request_is_due_there_is_no_pause(keeping, database):
    assert keeping.step() == 1.0
    who = Subject.build(customer_id="7")
    requests.add(
        database, requests.ERASE_CUSTOMER, SHOP, who, source="test", requested_at=datetime.now(UTC)
    )
    assert [keeping.step(), keeping.step()] == [0.0, 1.0]


def test_deliveries_are_remembered_for_a_month(keeping, database):
    for id_, days in (("old", 30.1), ("young", 29.9)):
        database.execute(
            "INSERT INTO webhook_deliveries (id, topic, shop_domain, received_at)"
            " VALUES (%s, 'app/uninstalled', %s, now() - %s)",
            [id_, SHOP, timedelta(days=days)],
        )
    keeping.step()
    assert database.execute("SELECT id FROM webhook_deliveries").fetchall() == [("young",)]


def partitions(database):
    found = database.execute(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'events'::regclass"
    )
    return {row[0] for row in found}


def test_partitions_are_made_from_last_month_to_three_months_ahead(keeping, database):
    names = partitions(database)
    for name in names - {"events_default"}:
        database.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(name)))
    keeping.step()
    now = datetime.now(UTC)
    months = [now.year * 12 + now.month - 1 + ahead for ahead in range(-1, 4)]
    expected = {f"events_{month // 12}_{month % 12 + 1:02}" for month in months}
    assert partitions(database) == expected | {"events_default"}
