"""Only real visits: prerendered pages, robots, the theme editor, and where one page view ends."""

import subprocess
import time
from types import SimpleNamespace

import pytest

from app.dev import storefront as shop_server
from tests.browser.conftest import AGREED, ARGUMENTS, CHROMIUM, CLASSIC, EMBED, IN_BOTH, track
from tests.processes.running import wait_until

# Prerenders two pages, and opens the first of them when the test has put up a page /go.
START = """<script type="speculationrules">
{"prerender": [{"source": "list", "urls": ["/next", "/never"], "eagerness": "immediate"}]}
</script><script>
setInterval(() => fetch("/go").then((reply) => { if (reply.ok) location.href = "/next"; }), 200);
</script>"""


@pytest.fixture
def pages(monkeypatch):
    """Pages by path, served over the network; `asked`: the paths that were."""
    pages, asked, found = {}, [], shop_server.page

    def page(path, **given):
        asked.append(path)
        return pages[path].encode() if path in pages else found(path, **given)

    monkeypatch.setattr(shop_server, "page", page)
    return SimpleNamespace(put=pages.update, asked=asked)


@pytest.fixture
def undriven(tmp_path):
    """Opens a page in a Chromium that nobody drives: one that is driven prerenders nothing."""
    running = []

    def undriven(url):
        arguments = ["--headless=new", f"--user-data-dir={tmp_path}", *ARGUMENTS, url]
        running.append(subprocess.Popen([CHROMIUM, *arguments], stderr=subprocess.DEVNULL))

    yield undriven
    for process in running:
        process.terminate()
        process.wait(20)


@pytest.fixture
def whole_browser(browser):
    """With the back/forward cache, which Playwright turns off in Chromium."""
    if browser.browser_type.name == "firefox":
        page = browser.new_page()
        yield page
        page.close()
    else:
        whole = browser.browser_type.launch(
            executable_path=CHROMIUM, args=ARGUMENTS,
            ignore_default_args=["--disable-back-forward-cache"],
        )  # fmt: skip
        yield whole.new_page()
        whole.close()


def test_a_prerendered_page_sends_nothing_until_it_is_opened(shop, pages, undriven, database):
    early = (
        "<script>(window.genlook = []).push(['track', 'widget:early',"
        " {prerendering: document.prerendering}])</script>"
    )
    late = """<script>
    const left = {timestamp: new Date(), $insert_id: "x", event: "widget:left"};
    localStorage["genlook:q:x"] = JSON.stringify(
      {left: true, at: Date.now(), batches: [{context: {}, events: [left]}]});
    setTimeout(() => document.dispatchEvent(new Event("visitorConsentCollected")), 300);
    document.onprerenderingchange = () => setTimeout(() => {
      const {activationStart} = performance.getEntriesByType("navigation")[0];
      genlook.track("widget:late", {keys: window.keys, started: activationStart > 0});
    });
    setTimeout(() => window.keys = Object.keys(localStorage), 1500);
    </script>"""
    page = AGREED + early + EMBED + late
    pages.put({"/start": START, "/next": page, "/never": page})
    undriven(shop.url + "/start")
    wait_until(lambda: {"/next", "/never"} <= set(pages.asked))
    time.sleep(2.5)  # s; a tracker that did not wait would have sent after one
    assert shop.events() == []
    pages.put({"/go": "go"})
    assert sorted(shop.wait_for(3)) == ["widget:early", "widget:late", "widget:left"]
    time.sleep(1.5)
    assert database.execute(
        "SELECT current_url, properties FROM tracked_events WHERE current_url <> '' ORDER BY event"
    ).fetchall() == [
        (shop.url + "/next", {"prerendering": True}),
        (shop.url + "/next", {"keys": ["genlook:q:x"], "started": True}),
    ]


@IN_BOTH
def test_a_page_view_ends_with_its_path_and_with_a_return_from_the_cache(
    shop, pages, whole_browser, database
):
    pages.put({"/one": AGREED + EMBED, "/two": AGREED + EMBED})
    page = whole_browser
    page.goto(shop.url + "/one")
    track(page, "widget:a", "widget:b")
    page.evaluate("history.pushState(null, '', '/one?color=red#top')")
    track(page, "widget:c")
    page.evaluate("history.pushState(null, '', '/other')")
    track(page, "widget:d")
    page.evaluate("window.before = true")
    page.goto(shop.url + "/two")
    page.evaluate("history.back()")
    page.wait_for_function("window.before")
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
        "SELECT event, context->'webdriver', context->'designMode' FROM tracked_events"
        " ORDER BY event"
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
        {"product_title": "Linen shirt"}, True,
    )  # fmt: skip
    assert tab.complaints == []
