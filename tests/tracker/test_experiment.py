"""The script that a shop's pages load knows the shop's experiment."""

import json
import re
import sys
import time
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from app import tracker
from app.merchant.experiments import start, stop
from app.tracker.experiment import Part, Parts
from tests.calls import SHOP, query

PUBLIC = "/apps/proxy_genlook-x/public"
OTHER = "other.myshopify.com"


@pytest.fixture
def get(calling):
    client = calling()._client
    return lambda name, shop=SHOP: client.get(f"{PUBLIC}/{name}", query_string=query(shop=shop))


def test_the_experiment_stands_in_front_of_the_script(get, database):
    start(database, SHOP, share=10, salt="the-salt")
    script = get("tracker.js")
    assert b'const experiment = {"salt": "the-salt", "share": 10, "start": ' in script.data
    assert script.data.endswith(tracker.SCRIPT)
    assert get("experiment.js").data + tracker.SCRIPT == script.data
    assert get("tracker.js", OTHER).data == tracker.SCRIPT
    assert get("experiment.js", OTHER).data == b""
    assert script.headers["ETag"] != get("tracker.js", OTHER).headers["ETag"]


def test_its_times_are_those_of_a_browsers_clock(get, database):
    start(database, SHOP, share=10, ends=(datetime.now(UTC) + timedelta(days=1)).isoformat())
    script = get("experiment.js").data.decode()
    told = json.loads(re.search(r"const experiment = (\{.*?\});", script)[1])
    now = time.time() * 1000
    assert told["start"] == pytest.approx(now, abs=60_000)
    assert told["end"] == pytest.approx(now + 86_400_000, abs=60_000)


def test_one_that_has_ended_is_not_in_it(get, database):
    start(database, SHOP, share=10)
    stop(database, SHOP)
    assert get("tracker.js").data == tracker.SCRIPT


def test_one_that_is_yet_to_begin_is(get, database):
    begins = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    start(database, SHOP, share=10, begins=begins)
    assert get("experiment.js").data


def away():
    raise psycopg.OperationalError


def test_where_postgres_is_away_the_script_comes_all_the_same_and_is_not_kept(calling):
    client = calling(database_url="postgresql://127.0.0.1:1/none")._client
    reply = client.get(f"{PUBLIC}/tracker.js", query_string=query())
    assert (reply.status_code, reply.data) == (200, tracker.SCRIPT)
    assert "no-store" in reply.headers["Cache-Control"]


def test_what_was_known_is_served_where_postgres_is_away(database):
    start(database, SHOP, share=10)
    parts = Parts(fresh=0.0)
    known = parts.of(SHOP, lambda: nullcontext(database))
    assert known.script
    assert parts.of(SHOP, away) == known
    assert parts.of(OTHER, away) == Part(b"", is_known=False)


def test_postgres_is_not_asked_again_at_once(database):
    parts = Parts()
    assert parts.of(SHOP, lambda: nullcontext(database)) == Part(b"")
    assert parts.of(SHOP, away) == Part(b"")
    start(database, SHOP, share=10)
    assert parts.of(SHOP, lambda: nullcontext(database)) == Part(b"")


def test_a_process_remembers_a_bounded_number_of_shops(database, monkeypatch):
    monkeypatch.setattr(sys.modules[Parts.__module__], "_MOST", 2)
    parts = Parts()
    for shop in (SHOP, OTHER, "third.myshopify.com"):
        assert parts.of(shop, lambda: nullcontext(database)).is_known
    assert not parts.of(SHOP, away).is_known
    assert parts.of("third.myshopify.com", away).is_known
