"""Those that need nothing but our own dependencies answer the benchmark's call."""

import json
import urllib.request
from types import SimpleNamespace

import psycopg
import pytest

from tests.bench.processes import CONTENDERS, EMPTY_FLASK, FLASK, OURS, PATH, SECRET, running
from tests.calls import body, event, query
from tests.processes.running import as_url, wait_until

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("contender", [OURS, FLASK, EMPTY_FLASK], ids=lambda one: one.title)
def test_a_contender_takes_the_call_and_stores_its_events(
    contender, database_url, redis_url, tmp_path
):
    servers = SimpleNamespace(database_url=as_url(database_url), redis_url=redis_url)
    with psycopg.connect(database_url, autocommit=True) as database:
        database.execute((CONTENDERS / "flat_events.sql").read_text())
        with running(contender, servers, tmp_path) as (port, _):
            url = f"http://127.0.0.1:{port}{PATH}?{query(secret=SECRET)}"
            call = urllib.request.Request(
                url,
                json.dumps(body(event(), event())).encode(),
                {"Content-Type": "application/json"},
            )
            with urllib.request.urlopen(call, timeout=10) as reply:
                assert json.load(reply) == {"success": True}
            if contender.table:
                count = f"SELECT count(*) FROM {contender.table}"
                wait_until(lambda: database.execute(count).fetchone() == (2,))
