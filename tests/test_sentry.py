"""What Sentry is told, by its own library to a server on this machine."""

import logging

import pytest
import sentry_sdk

from tests.calls import body, event

# Not where the faults are: lines of the source are reported with them.
EMAIL, CUSTOMER, ADDRESS = "ann@example.com", "customer-4711", "10.1.2.3"
QUERY = "?path_prefix=x&signature=1"


@pytest.mark.slow
def test_a_fault_is_reported_without_anything_that_was_sent(calling, sentry, monkeypatch):
    dsn, received = sentry
    caller = calling(sentry_dsn=dsn)

    def fail(batch):
        raise ValueError(f"{batch.events} {EMAIL} {ADDRESS}")

    monkeypatch.setattr(caller.extensions["intake"], "append", fail)
    sent = event(properties={"mail": EMAIL})
    reply = caller.post(body(sent), customer=CUSTOMER, headers={"X-Forwarded-For": ADDRESS})
    assert reply.json["code"] == "NOT_STORED"
    logging.getLogger("app").error("no %s", QUERY, extra={"cause": EMAIL})
    sentry_sdk.flush(2)
    text = b"".join(received).decode()
    assert "ValueError" in text
    assert "_take_batch" in text  # where it happened
    for word in (EMAIL, CUSTOMER, ADDRESS, *QUERY.split("&"), sent["$insert_id"]):
        assert word not in text
