"""Only real visits: prerendered pages, robots, the theme editor, and where one page view ends."""

import pytest
from playwright.sync_api import sync_playwright

from app.dev import storefront as shop_server
from tests.browser.conftest import AGREED, ARGUMENTS, CHROMIUM, CLASSIC, EMBED, track

RULES = """<script type="speculationrules">
{"prerender": [{"source": "list", "urls": ["/next", "/never"], "eagerness": "immediate"}]}
</script>"""


@pytest.fixture
def pages(monkeypatch):
    """Pages by path, served over the network: what is prerendered cannot be intercepted."""
    pages = {}
    found = shop_server.page
    monkeypatch.setattr(
        shop_server, "page",
        lambda path, **given: pages[path].encode() if path in pages else found(path, **given),
    )  # fmt: skip
    return pages


@pytest.fixture
def whole_browser():
    """Chromium with what Playwright turns off: prerendering, and the back/forward cache."""
    with sync_playwright() as running:
        browser = running.chromium.launch(
            executable_path=CHROMIUM, args=ARGUMENTS,
            ignore_default_args=["--disable-back-forward-cache"],
        )  # fmt: skip
        yield browser.new_page()
        browser.close()


def test_a_prerendered_page_sends_and_keeps_nothing_until_it_is_opened(
    shop, pages, whole_browser, database
):
    early = "<script>(window.genlook = []).push(['track', 'widget:early', {prerendering: document.prerendering}])</script>"
    pages["/start"] = RULES
    pages["/next"] = pages["/never"] = AGREED + early + EMBED
    page = whole_browser
    page.goto(shop.url + "/start")
    page.wait_for_timeout(3_000)
    assert shop.events() == []
    assert page.evaluate("Object.keys(localStorage)") == []
    page.evaluate("location.href = '/next'")
    assert shop.wait_for(1, page) == ["widget:early"]
    assert page.evaluate("performance.getEntriesByType('navigation')[0].activationStart") > 0
    assert database.execute(
        "SELECT current_url, properties FROM tracked_events"
    ).fetchall() == [(shop.url + "/next", {"prerendering": True})]  # fmt: skip


def test_a_page_view_ends_with_its_path_and_with_a_return_from_the_cache(
    shop, pages, whole_browser, database
):
    pages["/one"] = pages["/two"] = AGREED + EMBED
    page = whole_browser
    page.goto(shop.url + "/one")
    track(page, "widget:a", "widget:b")
    page.evaluate("history.pushState(null, '', '/one?color=red#top')")
    track(page, "widget:c")
    page.evaluate("history.pushState(null, '', '/other')")
    track(page, "widget:d")
    page.evaluate("window.before = true")
    page.goto(shop.url + "/two")
    page.go_back()
    assert page.evaluate("window.before")
    track(page, "widget:e")
    assert len(shop.wait_for(5, page)) == 5
    ids = dict(database.execute("SELECT event, pageview_id FROM tracked_events").fetchall())
    assert ids["widget:a"] == ids["widget:b"] == ids["widget:c"]
    assert len(set(ids.values())) == 3


def test_robots_and_the_theme_editor_say_so_and_nobody_else(shop, open_page, database):
    robot = "<script>Object.defineProperty(navigator, 'webdriver', {value: true})</script>"
    editor = "<script>Shopify.designMode = true</script>"
    for name, html in (("shopper", ""), ("robot", robot), ("editor", editor)):
        track(open_page(AGREED + html + CLASSIC), f"widget:{name}")
    assert len(shop.wait_for(3)) == 3
    rows = database.execute(
        "SELECT event, context->'webdriver', context->'designMode' FROM tracked_events ORDER BY event"
    ).fetchall()
    assert rows == [
        ("widget:editor", None, True), ("widget:robot", True, None), ("widget:shopper", None, None),
    ]  # fmt: skip


def test_the_embed_tracks_views_of_product_pages_and_only_those(shop, visitor, database):
    tab = visitor()
    tab.open("/")
    tab.open("/products/linen-shirt")
    assert shop.wait_for(1) == ["product_page:page_view"]
    assert database.execute(
        "SELECT product_id, variant_id, properties, context->'genlook_widget_enabled'"
        " FROM tracked_events"
    ).fetchone() == (
        "gid://shopify/Product/1001", "gid://shopify/ProductVariant/10011",
        {"product_id": "gid://shopify/Product/1001"}, True,
    )  # fmt: skip
    assert tab.complaints == []
