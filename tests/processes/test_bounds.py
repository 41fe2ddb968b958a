"""What one caller can make the processes cost, measured on them."""

import os
import random
import socket
from datetime import UTC, datetime

import pytest

from app.batch.batch import Context, Event, Rejected
from app.intake import keys
from app.intake.breaker import CircuitBreaker
from app.intake.limits import Limits
from app.intake.memory import Bounds
from app.intake.outcomes import Outcomes
from app.intake.redis_client import client_of
from app.intake.stream import Stream
from app.intake.submission import Submission
from app.intake.waiting import run
from tests.calls import SHOP
from tests.processes.running import wait_until

pytestmark = pytest.mark.slow

MIB = 1024 * 1024
STREAM = keys.stream(0)
_random = random.Random(1)


@pytest.fixture
def put(redis_url):
    """Puts batches into the stream as web processes do."""
    stream = Stream(
        client_of(redis_url, 5),
        Outcomes(),
        breaker=CircuitBreaker(),
        partitions=1,
        max_batches=10**6,
        bounds=Bounds(10**12),
        dedup_window=1_000,
        limits=Limits(),
    )

    def put(*, events=1, size=10, rejected=0):
        now = datetime.now(UTC)
        text = f"{_random.getrandbits(4 * size):x}"
        names = [f"{_random.getrandbits(64):x}" for _ in range(events)]
        submission = Submission.build(
            shop=SHOP,
            customer_id=None,
            received_at=now,
            context=Context({"client_id": "c"}),
            events=[
                Event("widget:button_click", name, now, b'{"a":"%b"}' % text.encode(), b"{}")
                for name in names
            ],
            rejected=[Rejected(0, "VALIDATION_FAILED", [], "\ufffd" * (256 * 1024))] * rejected,
            size=0,
        )
        run(stream.append(submission))

    return put


@pytest.mark.parametrize("kind", ["large", "large after small", "rejected", "read by another"])
def test_a_worker_stays_small_whatever_waits(start_worker, put, redis_client, kind):
    if kind == "large after small":
        for _ in range(2_000):
            put()
    for _ in range(150):
        if kind == "rejected":
            put(events=0, rejected=1)
        else:
            put(events=30, size=32_000)
    if kind == "read by another":
        redis_client.xgroup_create(STREAM, keys.GROUP, id="0")
        gone = f"{os.environ.get('DYNO') or socket.gethostname()}-{2**22}"
        redis_client.xreadgroup(keys.GROUP, gone, {STREAM: ">"}, count=10_000)
    worker = start_worker()
    wait_until(lambda: redis_client.xlen(STREAM) == 0, 120)
    assert worker.peak() < 256 * MIB, f"{worker.peak() / MIB:.0f} MiB"
    assert redis_client.exists(keys.size(STREAM)) == 0
