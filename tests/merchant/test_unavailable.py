"""What a merchant is told while nothing can be read."""

import psycopg
import pytest
from psycopg_pool import PoolTimeout, TooManyRequests

from tests.calls import SHOP


@pytest.mark.parametrize("error", [psycopg.OperationalError, PoolTimeout, TooManyRequests])
def test_that_it_is_for_a_while_and_why_is_in_the_log(
    merchant,
    monkeypatch,
    said,
    error,
):
    def fail(use):
        raise error("a row of somebody")

    monkeypatch.setattr(merchant.caller.extensions["reports"], "read", fail)
    reply = merchant("/app/api/report")
    assert (reply.status_code, reply.get_json()["code"]) == (503, "UNAVAILABLE")
    assert reply.get_json()["message"] == (
        "The reports are temporarily unavailable. Please try again."
    )
    assert said("report_failed", "shop", "cause") == [("ERROR", SHOP, error.__name__)]
