import threading

import pytest

from app.intake import backlog, keys
from app.intake.redis_client import worker_client
from app.store.connections import connect
from app.store.writer import Writer
from app.worker import consumer as consumer_module
from app.worker.consumer import Consumer
from app.worker.storing import Storing, parse


@pytest.fixture
def stopping():
    stop = threading.Event()
    stop.set()
    return stop


@pytest.fixture
def storing(settings):
    storing = Storing(
        lambda: connect(settings.database_url, "tests"), Writer(statement_timeout=10_000)
    )
    yield storing
    storing.close()


@pytest.fixture
def consuming(settings, storing):
    """Makes consumers by name."""
    with worker_client(settings) as client:

        def make(name, store=storing.store, **options):
            consumer = Consumer(
                client, parse, store, streams=lambda: [keys.stream(0)], name=name, **options
            )
            consumer.join()
            return consumer

        yield make


@pytest.fixture
def two_at_a_time(monkeypatch):
    """Two entries to a command and to a transaction."""
    monkeypatch.setattr(consumer_module, "READ_BATCHES", 2)
    monkeypatch.setattr(backlog, "_MANY", 2)
