import base64
import hashlib
import hmac
import json
from contextlib import closing
from datetime import timedelta

import pytest
from click.testing import CliRunner

from app.cli import privacy
from app.counts.rollups import mark_dirty
from app.privacy import erasure
from app.privacy import work as work_module
from app.privacy.waiting import Journals
from app.privacy.work import Work
from app.store.shops import mark_returned
from tests.calls import SECRET, SHOP
from tests.processes.running import environment


@pytest.fixture
def recounted():
    return []


@pytest.fixture
def work(settings, database, monkeypatch, recounted):
    """Does what is due, as the worker would; a request is looked at twice."""
    monkeypatch.setattr(work_module, "SETTLE", timedelta(0))
    monkeypatch.setattr(work_module, "_LOOK_AGAIN", timedelta(0))

    def recount(connection, shop_id, visitors=None):
        recounted.append(visitors)
        mark_dirty(connection, shop_id, visitors)

    monkeypatch.setattr(erasure, "mark_dirty", recount)
    with closing(Work(Journals.of(settings))) as work:

        def run(most=20):
            mark_returned(database)
            taken = []
            while len(taken) < most and (request := work.run_due(database)):
                taken.append(request)
            return taken

        yield run


@pytest.fixture
def deliver(caller):
    """Sends a webhook as Shopify does; returns the reply."""

    def deliver(
        topic, payload=None, *, shop=SHOP, id_=None, raw=None, headers=(), family="X-Shopify-"
    ):
        body = raw if raw is not None else json.dumps(payload or {}).encode()
        digest = hmac.new(SECRET.encode(), body, hashlib.sha256).digest()
        sent = {
            "Content-Type": "application/json",
            f"{family}Topic": topic,
            f"{family}Hmac-Sha256": base64.b64encode(digest).decode(),
            f"{family}Shop-Domain": shop,
            f"{family}Webhook-Id": id_ or f"{topic}-{hash(body)}",
            **dict(headers),
        }
        return caller._client.post("/webhooks", data=body, headers=sent)

    return deliver


@pytest.fixture
def run(settings, monkeypatch):
    """Runs a command in this process; its output."""
    monkeypatch.setattr(work_module, "SETTLE", timedelta(0))
    monkeypatch.setattr("config.logs.configure", lambda *_: None)
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)

    def run(*words, code=0, answer=None):
        result = CliRunner().invoke(privacy, words, input=answer)
        assert result.exit_code == code, result.output
        return result.output

    return run
