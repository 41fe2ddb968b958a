"""What an operator reads in the log: each line says what happened, to whom, and why."""

import ast
import re
import sqlite3
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from io import BytesIO

import pytest
from psycopg.errors import AdminShutdown
from redis import ConnectionError as RedisIsAway
from redis import Redis

from app.intake.drainer import Drainer
from app.intake.nodes import Nodes
from app.intake.redis_client import warn_about_eviction
from app.intake.spool import Spool
from app.intake.watch import Watch
from app.merchant import database as merchant_database
from app.merchant.database import Database
from app.metrics.reporter import Reporter
from app.privacy import requests
from app.privacy.subject import Subject
from app.privacy.waiting import Journals
from app.privacy.work import Work
from app.store import partitions, retention, shops
from app.store.connections import connect
from app.store.partitions import create_partitions
from app.worker.housekeeping import Housekeeping
from app.worker.upkeep import Retention
from tests.calls import PATH, SHOP, body, event
from tests.draining import drain
from tests.intake.test_stream import submission
from tests.merchant.conftest import KEY, token
from tests.processes.running import wait_until
from tests.test_house import FILES, ROOT

NO_POSTGRES = "postgresql://127.0.0.1:1/nowhere"
NO_REDIS = "redis://127.0.0.1:1"


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if "getLogger" in path.read_text()],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_each_line_is_one_text_with_an_action_and_named_fields(path):
    """So that lines of a kind can be found, counted and told apart by a machine."""
    for call in ast.walk(ast.parse(path.read_text())):
        name = getattr(getattr(call, "func", None), "attr", "")
        of = getattr(getattr(getattr(call, "func", None), "value", None), "id", "")
        if of == "logger" and name != "isEnabledFor":
            given = {keyword.arg: keyword.value for keyword in call.keywords}
            assert "extra" in given, f"line {call.lineno} has no extra"
            fields = [key.value for key in given["extra"].keys]
            assert fields[0] == "action", f"line {call.lineno}"
            assert all(re.fullmatch("[a-z_]+", field) for field in fields)
            texts = [one for one in call.args if not isinstance(one, ast.Attribute | ast.IfExp)]
            for text in texts if name != "log" else []:
                assert isinstance(text, ast.Constant), f"line {call.lineno} fills in its text"


# Who is refused.


def test_who_calls_without_shopify_s_signature_is_noted_with_the_rule_that_failed(
    calling, said, database
):
    caller = calling(shopify_api_key=KEY)
    caller.post(body(), query_string="shop=x")
    caller.post(body(), secret="another")
    assert said("invalid_signature", "cause") == [
        ("INFO", "missing:timestamp"), ("INFO", "bad_signature")
    ]  # fmt: skip
    caller._client.post("/webhooks", data=b"{}", headers={"X-Shopify-Hmac-Sha256": "x"})
    caller._client.post("/webhooks", data=b"{}")
    assert said("invalid_webhook") == [("INFO",)] * 2
    caller._client.get("/app", headers={"Authorization": "Bearer x"})
    caller._client.get("/app")
    caller._client.get("/app", headers={"Authorization": f"Bearer {token(secret='another')}"})
    assert said("invalid_session", "cause") == [
        ("INFO", "bad_signature"), ("INFO", "missing"), ("INFO", "bad_signature")
    ]  # fmt: skip
    assert caller.outcomes() == {
        "signature:missing:timestamp": 1, "signature:bad_signature": 1, "webhook:bad_signature": 2
    }  # fmt: skip


def test_a_body_that_was_cut_off_is_noted_by_any_wsgi_server(app, said):
    class CutOff(BytesIO):
        def read(self, size=-1):
            raise ConnectionResetError("a shopper's address")

        readinto = read

    cut_off = {"wsgi.input": CutOff(), "CONTENT_LENGTH": "10"}
    reply = app.test_client().post(PATH, environ_overrides=cut_off)
    assert reply.status_code == 401
    assert said("body_lost", "cause") == [("INFO", "ClientDisconnected")]


# A server that is away or full.


def test_a_stream_that_is_full_is_said_once_and_so_is_its_end(calling, settings, said):
    caller = calling(stream_max_batches=1)
    for _ in range(3):
        caller.post(body())
    assert said("stream_full", "cause") == [("WARNING", "the stream is at its cap")]
    drain(settings)
    for _ in range(2):
        wait_until(lambda: caller.post(body()).status_code == 200)
    wait_until(lambda: said("stream_back"))
    assert said("stream_back") == [("INFO",)]


def test_a_redis_that_nothing_is_filtered_by_is_said_once(calling, said):
    caller = calling(redis_url=NO_REDIS, intake="store")
    for _ in range(3):
        caller.post(body())
    [(level, why)] = said("filter_paused", "cause")
    assert level == "WARNING"
    assert why.startswith("ConnectionError")


def test_a_replica_that_is_skipped_is_said(database_url, said):
    with closing(Database(database_url, NO_POSTGRES)) as reports:
        with reports.exporting(SHOP, lambda connection: 1) as found:
            assert found == 1
        [(level, why)] = said("replica_skipped", "cause")
        assert level == "WARNING"
        assert why.startswith("OperationalError")
        merchant_database._log_or_raise(AdminShutdown())
        assert len(said("replica_skipped")) == 2


@pytest.mark.parametrize("policy", ["noeviction", "allkeys-lru"])
def test_a_redis_that_evicts_is_warned_of(redis_client, said, policy):
    redis_client.config_set("maxmemory-policy", policy)
    try:
        warn_about_eviction(redis_client)
    finally:
        redis_client.config_set("maxmemory-policy", "noeviction")
    warned = [] if policy == "noeviction" else [("WARNING", policy)]
    assert said("redis_evicts", "policy") == warned


# What processes do beside requests.


def test_what_left_the_spool_is_counted_and_a_fault_is_said_once(tmp_path, said):
    folder = tmp_path / "spool"
    with closing(Spool(folder, max_bytes=2**20)) as spool:
        for id_ in "abc":
            spool.append(submission(id_))
        drainer = Drainer(spool, folder, lambda batch: True)
        assert drainer.drain() == 3
        assert said("spool_drained", "batches") == [("INFO", 3)]
        assert drainer.drain() == 0
        assert len(said("spool_drained")) == 1


def test_a_spool_that_cannot_be_drained_is_said_once(tmp_path, said, monkeypatch):
    monkeypatch.setattr("app.intake.drainer._LOOK_EVERY", 0.001)
    failed, over = [], threading.Event()

    def report():
        failed.append(1)
        if len(failed) == 5:
            over.set()
        raise (OSError if len(failed) < 4 else ValueError)("a path")

    with closing(Spool(tmp_path, max_bytes=2**20)) as spool:
        drainer = Drainer(spool, tmp_path, lambda batch: True, report)
        drainer.start()
        assert over.wait(10)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(drainer, "_report", lambda: None)
            drainer.stop()
    assert said("drain_failed") == [("ERROR",)] * 2


def test_a_damaged_spool_is_renamed_and_said(tmp_path, said):
    (tmp_path / "spool.sqlite").write_bytes(b"no database at all" * 1_000)
    with closing(Spool(tmp_path, max_bytes=2**20)) as spool:
        spool.append(submission("a"))
    [(level, file)] = said("spool_damaged", "file")
    assert level == "ERROR"
    assert (tmp_path / file).exists()


def test_a_spool_that_cannot_be_searched_is_said(settings, tmp_path, said, monkeypatch):
    with closing(Journals.of(settings)) as journals:
        monkeypatch.setattr(
            journals._spool, "oldest",
            lambda *_, **__: (_ for _ in ()).throw(sqlite3.OperationalError("locked")),
        )  # fmt: skip
        assert list(journals.batches(SHOP)) == []
    assert said("spool_not_searched", "cause") == [("WARNING", "OperationalError")]


def test_a_fault_of_the_watch_and_of_the_reporter_is_said_and_they_go_on(redis_client, said):
    looks = []

    def probe():
        looks.append(1)
        raise (ZeroDivisionError if len(looks) == 1 else RedisIsAway)

    watch = Watch(lambda: None, probe, ask_every=60)
    watch.start()
    wait_until(lambda: len(looks) > 1)
    watch.stop()
    assert said("watch_failed") == [("ERROR",)] * len(looks)

    reporter = Reporter(Nodes(redis_client), [], kind="web", revision="")
    reporter.count_connections = lambda: 1 // 0
    reporter.start()
    wait_until(lambda: said("report_failed"))
    reporter.stop()
    assert set(said("report_failed")) == {("ERROR",)}


@pytest.mark.slow
def test_a_reporter_without_redis_is_silent(said):
    reporter = Reporter(Nodes(Redis(port=1)), [], kind="web", revision="")
    reporter.start()
    reporter.stop()
    assert said("report_failed") == []


# The worker.


def test_a_shop_that_is_back_and_what_was_maintained_are_said(settings, database, caller, said):
    caller.post(body())
    caller.rows()
    shops.mark_uninstalled(database, SHOP, datetime.now(UTC) - timedelta(days=1))
    caller.post(body(event()))
    caller.rows()
    duty = Housekeeping(
        lambda: connect(settings.database_url, "housekeeping"),
        Work(Journals.of(settings)),
        Retention(events=395, rejected=30, user_agents=30),
    )
    with closing(duty._own):
        duty.step()
    assert said("installed_again", "shop") == [("INFO", SHOP)]
    assert said("maintained", "done") == [("INFO", {})]


def test_a_partition_that_is_busy_is_named(database, database_url, said, monkeypatch):
    monkeypatch.setattr(partitions, "_STATEMENT_TIMEOUT", "50ms")
    monkeypatch.setattr(partitions, "_LOCK_TIMEOUT", "20ms")
    monkeypatch.setattr(retention, "_LOCK_TIMEOUT", "20ms")
    later = datetime.now(UTC).date() + timedelta(days=31)
    with connect(database_url, "tests") as reader, reader.transaction():
        reader.execute("SELECT count(*) FROM events")
        assert create_partitions(database, later) == []
        [(level, name)] = said("partition_postponed", "partition")
        assert (level, name[:7]) == ("WARNING", "events_")
        assert retention.drop_old_partitions(database, datetime.now(UTC)) == []
    busy = said("drop_postponed", "partition")
    assert busy
    assert {level for level, _ in busy} == {"WARNING"}
    assert all(re.fullmatch(r"events_\d{4}_\d\d", name) for _, name in busy)


def test_an_erasure_that_is_done_is_said_with_its_numbers(
    settings, caller, database, said, monkeypatch
):
    monkeypatch.setattr("app.privacy.work.SETTLE", timedelta(0))
    monkeypatch.setattr("app.privacy.work._LOOK_AGAIN", timedelta(0))
    caller.post(body(event(), event()))
    caller.rows()
    id_ = requests.add(
        database, requests.ERASE_SHOP, SHOP, Subject(), source=requests.COMMAND,
        requested_at=datetime.now(UTC),
    )  # fmt: skip
    with closing(Work(Journals.of(settings))) as work:
        while work.run_due(database):
            pass
    assert said("privacy_done", "request", "kind", "shop", "outcome") == [
        ("INFO", id_, "erase_shop", SHOP, "done")
    ]
    [(_, rows)] = said("privacy_done", "rows")
    assert rows["events"] == 2
