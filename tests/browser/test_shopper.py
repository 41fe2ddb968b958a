"""From a shopper's clicks to rows, and to the merchant's numbers."""

from tests.browser.conftest import ENDPOINT, IN_BOTH, close, kept, sent_batches

PRODUCT = "/products/linen-shirt"
TRY_ON = [
    "product_page:page_view", "widget:button_click", "widget:image_upload",
    "widget:generation_start", "widget:result_view", "widget:add_to_cart_clicked",
    "widget:add_to_cart_success",
]  # fmt: skip


def try_on(page):
    for button in ("#try", "#upload", "#generate", "#add"):
        page.click(button)
    page.wait_for_function("document.getElementById('cart-state').textContent === 'In the cart.'")


def test_a_visit_becomes_rows_and_the_merchants_numbers(shop, visitor, database):
    shopper = visitor(locale="de-DE")
    try_on(shopper.open(PRODUCT))
    looker = visitor()
    looker.open(PRODUCT)
    assert sorted(shop.wait_for(8)) == sorted([*TRY_ON, TRY_ON[0]])
    row = database.execute(
        "SELECT product_id, variant_id, lib_version, client_id, session_id, pageview_id,"
        " context->>'$browser_language', context->>'$raw_user_agent', context->>'$pathname'"
        " FROM tracked_events WHERE event = 'widget:result_view'"
    ).fetchone()
    assert all(row)
    assert row[0] == "gid://shopify/Product/1001"
    assert (row[6], row[8]) == ("de-DE", PRODUCT)

    merchant = visitor()
    page = merchant.open("/admin")
    shown = page.locator(".funnel td[data-name=Visitors]").all_text_contents()
    assert shown == ["2", "1", "1", "1", "1", "1", "1"]
    assert [*shopper.complaints, *looker.complaints, *merchant.complaints] == []


def test_offline_and_back(shop, visitor):
    tab = visitor()
    page = tab.open(PRODUCT)
    assert shop.wait_for(1) == TRY_ON[:1]
    page.context.set_offline(True)
    page.click("#try")
    page.click("#upload")
    page.wait_for_timeout(1500)
    assert kept(page) == TRY_ON[1:3]
    page.context.set_offline(False)
    assert shop.wait_for(3) == TRY_ON[:3]
    page.wait_for_function("!Object.keys(localStorage).some(key => key.startsWith('genlook:q:'))")


@IN_BOTH
def test_a_tab_closed_in_the_middle_loses_nothing(shop, visitor):
    page = visitor().open(PRODUCT)
    page.click("#try")
    page.click("#upload")
    close(page)
    assert shop.wait_for(3) == TRY_ON[:3]


@IN_BOTH
def test_what_a_closed_tab_could_not_send_is_sent_from_the_next_page_once(shop, visitor):
    tab = visitor()
    page = tab.open(PRODUCT)
    shop.wait_for(1)
    page.context.set_offline(True)
    page.click("#try")
    close(page)
    tab.page = page.context.new_page()
    page.context.set_offline(False)
    tab.open("/")
    assert shop.wait_for(2) == TRY_ON[:2]


def test_300_events_at_once_arrive_in_batches_of_50(shop, visitor):
    tab = visitor()
    page = tab.open("/")
    sent_batches(page)
    page.evaluate(
        "for (let n = 0; n < 300; n++)"
        " genlook.track('widget:button_click', {n, pad: 'x'.repeat(200)})"
    )
    assert len(shop.wait_for(300, page)) == 300
    assert max(map(len, page.evaluate("batches"))) == 50
    assert tab.complaints == []


def test_events_too_large_for_one_request_go_in_smaller_ones(shop, visitor):
    page = visitor().open("/")
    page.evaluate(
        "for (let n = 0; n < 30; n++)"
        " genlook.track('widget:button_click', {n, pad: 'x'.repeat(25000)})"
    )
    assert len(shop.wait_for(30, page)) == 30


def test_nothing_is_sent_or_kept_before_the_shopper_has_agreed(shop, visitor):
    page = visitor().open("/")
    page.evaluate("localStorage.clear()")
    page.select_option("#consent", "")
    page.reload()
    page.goto(shop.url + PRODUCT)
    page.click("#try")
    page.wait_for_timeout(1500)
    assert page.evaluate("Object.keys(localStorage)") == ["demo-consent"]
    assert shop.events() == []
    page.select_option("#consent", "yes")
    assert shop.wait_for(2) == TRY_ON[:2]


def test_a_batch_that_nobody_could_take_is_sent_again_with_the_same_ids(shop, visitor):
    page = visitor().open("/")
    replies = [
        {"status": 500, "body": "<html>"},
        {"json": {"success": False}},
        {"status": 404, "body": "<script>VALIDATION_FAILED</script>"},  # the theme's own page
    ]
    page.route(
        ENDPOINT, lambda route: route.fulfill(**replies.pop(0)) if replies else route.continue_()
    )
    sent_batches(page)
    page.evaluate("genlook.track('widget:button_click')")
    assert shop.wait_for(1, page) == ["widget:button_click"]
    first, *later = page.evaluate("batches")
    assert later == [first] * 3


def test_a_shop_page_never_hears_of_a_fault_of_the_tracker(shop, visitor):
    tab = visitor()
    page = tab.open("/")
    page.evaluate(
        "() => { const loop = {}; loop.self = loop; genlook.track('widget:x', loop);"
        " genlook.track(); genlook.track('widget:x', 10n); genlook.set(null);"
        " Object.defineProperty(window, 'localStorage',"
        " {get() { throw new DOMException('denied', 'SecurityError'); }});"
        " genlook.track('widget:share_clicked'); }"
    )
    assert "widget:share_clicked" in shop.wait_for(1)
    assert tab.complaints == []
