"""genlook.arm() on a shop's pages, and what the server makes of those visitors."""

from datetime import UTC, datetime, timedelta

import pytest

from app.batch.arm import is_held_back
from app.counts.period import find_shop
from app.merchant.experiments import show, start
from tests.batch.test_arm import ARM_JS, EXPERIMENTS, compare, many_ids
from tests.browser.conftest import AGREED, CLASSIC
from tests.calls import SHOP
from tests.processes.running import wait_until

SALT = "of-the-browser"
PRODUCT = "/products/linen-shirt"
NOBODY = ["undefined", "null", "[object Object]", "  ", '"NaN"',
          "00000000-0000-0000-0000-000000000000"]  # fmt: skip


def begin(database, share=30, days=-1, **options):
    begins = (datetime.now(UTC) + timedelta(days=days)).isoformat()
    with database.transaction():
        start(database, SHOP, share=share, begins=begins, salt=SALT, **options)


def id_of(arm):
    return next(f"id-{n}" for n in range(100) if is_held_back(SALT, 30, f"id-{n}") is arm)


def test_it_is_the_servers_arm(shop, open_page, database):
    begin(database)
    page = open_page(AGREED + CLASSIC)
    assert page.evaluate("genlook.arm()") in ("widget", "holdout")
    own = page.evaluate("localStorage.genlook_client_id")
    ids = [own, *(f"550e8400-e29b-41d4-a716-{n:012x}" for n in range(2_000)), "é😀", *NOBODY]
    arms = page.evaluate(
        "ids => ids.map((id) => { localStorage.genlook_client_id = id; return genlook.arm() })", ids
    )
    words = {True: "holdout", False: "widget", None: None}
    assert arms == [words[is_held_back(SALT, 30, id_)] for id_ in ids]
    assert page.complaints == []


def test_there_is_no_arm_without_an_experiment_before_it_and_after_it(shop, open_page, database):
    page = open_page(AGREED + CLASSIC)
    assert page.evaluate("genlook.arm()") is None
    page.evaluate("() => { window.genlookArm = () => { throw new Error() } }")
    assert page.evaluate("genlook.arm()") is None
    begin(database, days=1, ends=(datetime.now(UTC) + timedelta(days=3)).isoformat())

    def arm_after(days):
        at = int((datetime.now(UTC).timestamp() + days * 86_400) * 1000)
        return page.evaluate("at => { Date.now = () => at; return genlook.arm() }", at)

    known = (
        "() => fetch('/apps/proxy_genlook-x/public/experiment.js', {cache: 'no-store'})"
        ".then((reply) => reply.text()).then((text) => { eval(text); return text })"
    )
    wait_until(lambda: page.evaluate(known))  # a process remembers a while that there was none
    assert [arm_after(days) for days in (0, 3.01)] == [None, None]
    assert arm_after(1.01) in ("widget", "holdout")


def test_chromium_and_the_server_agree_on_100_000_ids(chromium):
    ids = many_ids()
    page = chromium.new_page()
    arms = page.evaluate(
        f"({{experiments, ids}}) => {{ {ARM_JS}"
        " return experiments.map((one) => ids.map((id) => armOf(one, () => id, 1))) }",
        {"experiments": EXPERIMENTS, "ids": ids},
    )
    page.close()
    compare(ids, arms)


@pytest.mark.parametrize("answer", ["false", "undefined"])
def test_who_has_not_agreed_is_in_no_arm(shop, open_page, database, answer):
    begin(database)
    page = open_page(
        "<script>window.Shopify = {customerPrivacy:"
        f" {{analyticsProcessingAllowed: () => {answer}}}}}</script>{CLASSIC}"
    )
    assert page.evaluate("genlook.arm()") is None
    assert page.evaluate("Object.keys(localStorage)") == []


def test_who_agreed_on_a_page_before_is_in_an_arm_at_once(shop, open_page, database):
    begin(database)
    page = open_page(AGREED + CLASSIC)
    arm = page.evaluate("genlook.arm()")
    late = open_page("<script>window.Shopify = {}</script>" + CLASSIC, beside=page)
    assert late.evaluate("genlook.arm()") == arm


def test_without_storage_nobody_is_in_an_arm_in_the_browser_and_on_the_server(
    shop, open_page, database
):  # fmt: skip
    begin(database)
    page = open_page(
        "<script>Object.defineProperty(window, 'localStorage', {value: null})</script>"
        + AGREED + CLASSIC
    )  # fmt: skip
    assert page.evaluate("genlook.arm()") is None
    page.evaluate("genlook.track('product_page:page_view')")
    shop.wait_for(1)
    client, session = database.execute("SELECT client_id, session_id FROM batches").fetchone()
    assert (client, bool(session)) == (None, True)
    arms = show(database, find_shop(database, SHOP))["experiment"]
    assert sum(arms[arm]["visitors"] + arms[arm]["waiting"] for arm in ("widget", "holdout")) == 0


def test_the_demo_shop_holds_its_widget_back(shop, visitor, database):
    begin(database)
    for arm in (True, False):
        page = visitor().open("/")
        page.evaluate("id => localStorage.genlook_client_id = id", id_of(arm))
        page.goto(shop.url + PRODUCT)
        assert page.is_hidden("#try") is arm
        page.click("#cart")
        shop.wait_for(4 - 2 * arm, page)
    enabled = "SELECT DISTINCT client_id, context->'genlook_widget_enabled' FROM batches ORDER BY 2"
    assert database.execute(enabled).fetchall() == [(id_of(True), False), (id_of(False), True)]
    found = show(database, find_shop(database, SHOP))["experiment"]
    assert [(found[arm]["waiting"], found[arm]["visitors"]) for arm in ("widget", "holdout")] == [
        (1, 0), (1, 0)
    ]  # fmt: skip
