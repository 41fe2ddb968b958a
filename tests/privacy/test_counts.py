"""What was erased leaves the merchants' numbers too."""

import pytest

from app.counts.period import Period, find_shop
from app.counts.rollups import count_new
from app.merchant.experiments import start
from app.merchant.reports import report
from tests.calls import CONTEXT, SHOP, body, event
from tests.privacy.bodies import redaction


def post(caller, client, **options):
    viewed = event(event="product_page:page_view")
    caller.post(body(viewed, context={**CONTEXT, "genlook_client_id": client}), **options)
    caller.rows()  # stored


def journeys(database):
    while count_new(database):
        pass
    return database.execute("SELECT count(*) FROM report_visitors").fetchone()[0]


def test_a_customer_who_is_erased_is_counted_no_more(caller, database, deliver, work):
    post(caller, "hers", customer="1")
    post(caller, "his", customer="2")
    assert journeys(database) == 2
    deliver("customers/redact", redaction(1))
    work()
    assert journeys(database) == 1


@pytest.mark.parametrize("context", [{"genlook_client_id": "", "$session_id": "s"}, {}])
def test_whoever_has_no_client_id_is_counted_no_more_either(
    caller, database, deliver, work, context
):
    viewed = event(event="product_page:page_view")
    caller.post(body(viewed, context=context), customer="1")
    post(caller, "his", customer="2")
    journeys(database)
    deliver("customers/redact", redaction(1))
    work()
    assert journeys(database) == 1
    shop = find_shop(database, SHOP)
    day = database.execute("SELECT occurred_at::date FROM tracked_events").fetchone()[0]
    shown = report(database, shop, Period(day, day), "product")
    assert (shown["events"]["now"], shown["visitors"]["now"]) == (1, 1)


def test_of_a_shop_that_is_erased_no_number_stays(caller, database, deliver, work):
    post(caller, "hers")
    assert journeys(database) == 1
    deliver("shop/redact")
    work()
    assert journeys(database) == 0
    tables = (
        "report_counts", "report_values", "report_shops", "report_marks", "report_news"
    )  # fmt: skip
    for table in tables:
        assert database.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table


EXPERIMENT = ("experiments", "experiment_visitors", "experiment_days", "experiment_groups")


def rows_of_experiments(database):
    return [database.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in EXPERIMENT]


def test_an_experiment_forgets_whom_the_shop_erases_and_goes_with_the_shop(
    caller, database, deliver, work
):
    start(database, SHOP, share=50, begins="2020-01-01T00:00:00Z")
    post(caller, "hers", customer="1")
    post(caller, "his", customer="2")
    assert journeys(database) == 2
    assert rows_of_experiments(database)[:2] == [1, 2]
    deliver("customers/redact", redaction(1))
    work()
    assert journeys(database) == 1
    assert rows_of_experiments(database) == [1, 1, 1, 3]
    deliver("shop/redact")
    work()
    assert journeys(database) == 0
    assert rows_of_experiments(database) == [0, 0, 0, 0]


def test_of_what_arrives_after_a_shops_erasure_no_number_stays_either(
    caller, database, deliver, work, redis_client
):
    post(caller, "hers")
    caller.post(body(event(event="product_page:page_view")))
    [(_, late)] = redis_client.xrange("{t0}:stream")
    redis_client.delete("{t0}:stream")
    deliver("shop/redact")
    work()
    redis_client.xadd("{t0}:stream", late)
    caller.rows()
    assert journeys(database) == 1
    database.execute("UPDATE privacy_requests SET due_at = now()")
    work()
    assert journeys(database) == 0
    for table in ("report_counts", "report_values", "report_shops", "report_marks"):
        assert database.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table
