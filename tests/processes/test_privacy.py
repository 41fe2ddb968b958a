"""Webhooks and privacy with the processes themselves."""

import base64
import hashlib
import hmac
import http.client
import json
import os
import subprocess
import threading
import time
from contextlib import closing
from datetime import UTC, datetime

import psycopg
import pytest
from psycopg import sql

from app.privacy import requests
from app.privacy.subject import Subject
from tests.calls import CONTEXT, PATH, SECRET, SHOP, body, event, query
from tests.privacy.bodies import redaction
from tests.processes.running import (
    ROOT,
    Running,
    answers,
    as_url,
    environment,
    flask,
    free_port,
    wait_until,
)

pytestmark = pytest.mark.slow

ANN = "207119551"


def post(web, path, raw, headers=()):
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=20)
    with closing(connection):
        connection.request("POST", path, raw, dict(headers))
        reply = connection.getresponse()
        return reply.status, reply.read()


def deliver(web, topic, payload, id_, secret=SECRET):
    raw = json.dumps(payload).encode()
    digest = hmac.new(secret.encode(), raw, hashlib.sha256).digest()
    headers = {
        "Content-Type": "application/json",
        "X-Shopify-Topic": topic,
        "X-Shopify-Shop-Domain": SHOP,
        "X-Shopify-Webhook-Id": id_,
        "X-Shopify-Hmac-Sha256": base64.b64encode(digest).decode(),
    }
    started = time.monotonic()
    status, _ = post(web, "/webhooks", raw, headers)
    return status, time.monotonic() - started


def test_a_body_that_does_not_arrive_is_no_fault(start_web):
    web = start_web(WEB_CONCURRENCY="1")
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=20)
    with closing(connection):
        connection.putrequest("POST", "/webhooks")
        connection.putheader("Transfer-Encoding", "chunked")
        # Without a signature the body is not waited for: 401 or 400, whichever comes first.
        connection.putheader("X-Shopify-Hmac-Sha256", "bm8=")
        connection.endheaders(b"zz\r\nno chunk\r\n")
        assert connection.getresponse().status == 400
    assert "Traceback" not in web.output()


def outcomes(database):
    return [row[0] for row in database.execute("SELECT outcome FROM privacy_requests")]


def rows_of(database, client):
    return database.execute(
        "SELECT count(*) FROM batches WHERE client_id = %s OR customer_id = %s", [client, ANN]
    ).fetchone()[0]


@pytest.fixture
def load():
    """Shoppers of three browsers, one of them Ann's, until the end of the test; Ann stops when the
    event is set."""
    over, ann_has_left = threading.Event(), threading.Event()
    threads, sent = [], []

    def shop(web, client, customer):
        while not over.is_set() and not (customer == ANN and ann_has_left.is_set()):
            document = body(event(), event(), context={**CONTEXT, "genlook_client_id": client})
            reply = post(web, f"{PATH}?{query(customer=customer)}", json.dumps(document))
            if reply == (200, b'{"success":true}'):
                sent.append(client)

    def start(web):
        for client, customer in (("hers", ANN), ("hers", ""), ("his", "8"), ("other", "")):
            threads.append(threading.Thread(target=shop, args=(web, client, customer)))
            threads[-1].start()
        return sent, ann_has_left

    yield start
    over.set()
    for thread in threads:
        thread.join()


def test_a_webhook_of_a_megabyte_is_taken(start_web):
    orders = {"orders_to_redact": list(range(150_000)), "shop_domain": SHOP}
    web = start_web()
    assert deliver(web, "customers/redact", orders, "large")[0] == 200


def test_one_customer_of_many_is_forgotten_under_load_though_the_worker_is_killed(
    start_web, start_worker, database, load, redis_client
):
    web, worker = start_web(), start_worker()
    sent, ann_has_left = load(web)
    wait_until(lambda: len(sent) > 100)
    ann_has_left.set()
    time.sleep(0.2)
    before = database.execute("SELECT clock_timestamp()").fetchone()[0]
    status, seconds = deliver(web, "customers/redact", redaction(int(ANN)), "one")
    assert (status, seconds < 1) == (200, True)
    worker.kill()
    time.sleep(0.3)
    start_worker()
    # The killed one may have had the request: then its lease of 30 s must pass.
    wait_until(lambda: outcomes(database) == ["done"], 100)
    left = database.execute(
        "SELECT count(*) FROM batches WHERE received_at < %s"
        " AND (customer_id = %s OR client_id = 'hers')",
        [before, ANN],
    ).fetchone()
    assert left == (0,)
    others = database.execute("SELECT count(*) FROM batches WHERE client_id = 'his'").fetchone()
    assert others[0] >= sent[:100].count("his")
    row = database.execute("SELECT subject, erased FROM privacy_requests").fetchone()
    assert row[0] is None
    assert row[1]["batches"] > 10
    assert ANN not in str(redis_client.xrange("{t0}:stream"))


@pytest.fixture
def own_schema(settings, database):
    """A role that is no superuser and owns nothing but a schema."""
    name = f"app_{os.getpid()}"
    with psycopg.connect(settings.database_url, autocommit=True) as admin:
        role = sql.Identifier(name)
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN").format(role))
        admin.execute(sql.SQL("CREATE SCHEMA {0} AUTHORIZATION {0}").format(role))
        url = as_url(settings.database_url)
        yield name, url.replace("//postgres@", f"//{name}@")
        admin.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(role))
        admin.execute(sql.SQL("DROP ROLE {}").format(role))


def read_only(spool):
    """A command's beginning that makes all but a folder read-only for what follows."""
    mounts = [
        f"mount --bind {spool} {spool}",
        "mount -o remount,ro,bind /",
        "mount -o remount,ro,bind /dev/shm",
        # By the process's id, for two of them begin at the same moment.
        f"(touch {spool}/$$ && rm {spool}/$$ && ! touch /tmp/$$ /dev/shm/$$) 2>/dev/null",
    ]
    return f"unshare --mount sh -c '{' && '.join(mounts)} && exec \"$@\"' sh"


def may_mount(folder):
    command = f"{read_only(folder)} true"
    return subprocess.run(command, shell=True, capture_output=True, check=False).returncode == 0


def test_nothing_is_written_but_the_spool_and_the_roles_own_schema(
    settings, own_schema, tmp_path, redis_client
):
    role, url = own_schema
    spool = tmp_path / "spool"
    spool.mkdir()
    if not may_mount(spool):
        pytest.skip("mounting needs root")
    port = free_port()
    env = environment(settings, DATABASE_URL=url, PORT=str(port), INTAKE="store")
    procfile = dict(line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines())
    processes = []
    try:
        for line in ("release", "web", "worker"):
            command = f"{read_only(spool)} {procfile[line]}"
            processes.append(Running(line, env, tmp_path / f"{line}.log", command))
            if line == "release":
                assert processes[0].process.wait(30) == 0, processes[0].output()
        web = processes[1]
        web.port = port
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/readyz"))
        raw = json.dumps(body(event())).encode()
        assert post(web, f"{PATH}?{query(customer=ANN)}", raw) == (200, b'{"success":true}')
        with psycopg.connect(settings.database_url, autocommit=True) as admin:
            count = sql.SQL("SELECT count(*) FROM {}.events").format(sql.Identifier(role))
            assert admin.execute(count).fetchone() == (1,)
            deliver(web, "shop/redact", {"shop_domain": SHOP}, "x")
            wait_until(lambda: admin.execute(count).fetchone() == (0,), 40)
        wait_until(lambda: '"action": "maintained"' in processes[2].output())
        for process in processes[1:]:
            assert process.terminate() < 25
            assert "Traceback" not in process.output()
    finally:
        for process in processes:
            process.kill()


def test_a_request_that_kills_its_worker_each_time_ends_with_the_operator(
    settings, start_worker, database
):
    requests.add(
        database, requests.ERASE_SHOP, SHOP, Subject(), source="shop/redact",
        requested_at=datetime.now(UTC),
    )  # fmt: skip

    def killed_in_the_middle():
        with psycopg.connect(settings.database_url) as holding:
            holding.execute("LOCK TABLE shops IN ACCESS EXCLUSIVE MODE")
            worker = start_worker()
            wait_until(lambda: of_failures("tries") not in (None, before))
            worker.kill()
        database.execute("UPDATE privacy_requests SET due_at = now()")

    def of_failures(column):
        row = database.execute(f"SELECT {column} FROM privacy_failures").fetchone()
        return row and row[0]

    before = None
    killed_in_the_middle()
    assert of_failures("tries") == 1
    database.execute("UPDATE privacy_failures SET tries = 9")
    before = 9
    killed_in_the_middle()
    worker = start_worker()
    wait_until(lambda: "privacy_failed" in worker.output())
    assert database.execute("SELECT state FROM privacy_requests").fetchone() == ("failed",)
    assert "has failed (its process was killed)" in flask(settings, "privacy", "list").stdout
