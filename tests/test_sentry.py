"""What Sentry is told, by its own library to a server on this machine."""

import logging

import psycopg
import pytest
import sentry_sdk

from app.sentry import _strip
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


def test_of_what_the_library_has_gathered_nothing_passes_but_what_is_named():
    """Whatever a release of it, or an integration, adds."""
    error = psycopg.errors.UniqueViolation(EMAIL)
    event = {
        "level": "error",
        "request": {"method": "POST", "url": QUERY, "data": EMAIL, "headers": {"Cookie": "a"}},
        "user": {"ip_address": ADDRESS},
        "breadcrumbs": {"values": [{"message": QUERY}]},
        "extra": {"action": "a", "shop": "b", "topic": "c", "request": 5, "cause": EMAIL},
        "logentry": {"message": f"first line\n{EMAIL}", "params": [EMAIL], "formatted": EMAIL},
        "exception": {
            "values": [
                {"type": "KeyError", "value": EMAIL, "stacktrace": {}},
                {"type": "UniqueViolation", "value": EMAIL},
            ]
        },
    }
    assert _strip(event, {"exc_info": (type(error), error, None)}) == {
        "level": "error",
        "request": {"method": "POST"},
        "extra": {"action": "a", "shop": "b", "topic": "c", "request": 5},
        "logentry": {"message": "first line"},
        "exception": {
            "values": [
                {"type": "KeyError", "value": "", "stacktrace": {}},
                {"type": "UniqueViolation", "value": "UniqueViolation: 23505"},
            ]
        },
    }


def test_an_event_of_a_line_alone_has_neither_request_nor_exception():
    nothing = dict.fromkeys(("action", "shop", "topic", "request"))
    assert _strip({"logentry": {"message": "line"}}, {}) == {
        "request": {"method": None}, "extra": nothing, "logentry": {"message": "line"}
    }  # fmt: skip
    assert _strip({}, {"exc_info": (KeyError, KeyError(EMAIL), None)}) == {
        "request": {"method": None}, "extra": nothing
    }  # fmt: skip
