"""A real browser, a demo shop, and all processes behind it."""

import re
import shutil
import threading
import time
from contextlib import suppress
from functools import cache

import pytest
from playwright.sync_api import sync_playwright

from app.dev import DEV_API_KEY
from app.dev.storefront import Storefront
from app.dev.theme import app_embed
from tests.calls import SECRET, SHOP
from tests.processes.conftest import start, start_web, start_worker  # noqa: F401
from tests.processes.running import ROOT, wait_until

# A shopper's browser: what is driven from outside says so, and does not count as a visitor.
ARGUMENTS = [
    "--disable-blink-features=AutomationControlled", "--no-sandbox", "--disable-gpu",
    "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run",
]  # fmt: skip
PICTURES = ROOT / ".dev" / "browser"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")
SCRIPT = "/apps/proxy_genlook-x/public/tracker.js"
CLASSIC = f'<script src="{SCRIPT}"></script>'
YES = "{analyticsProcessingAllowed: () => true}"
AGREED = f"<script>window.Shopify = {{customerPrivacy: {YES}}}</script>"
EMBED = app_embed("/apps/proxy_genlook-x")  # from the CDN, as themes load it
ENDPOINT = re.compile("tracking/events")
NO_CHROMIUM = "no Chromium on this machine: apt-get install chromium"
NO_FIREFOX = "no Firefox on this machine: apt-get install firefox-esr"
UNDRIVEN = "Object.defineProperty(Navigator.prototype, 'webdriver', {get: () => false})"
NEEDS_FIREFOX = pytest.mark.skipif(FIREFOX is None, reason=NO_FIREFOX)
# The tests of what a browser has a say in: leaving, storage, requests, the cache of pages.
IN_BOTH = pytest.mark.parametrize(
    "browser", ["chromium", pytest.param("firefox", marks=NEEDS_FIREFOX)], indirect=True
)


def pytest_collection_modifyitems(items):
    for item in items:
        if "tests/browser" in item.path.as_posix():
            item.add_marker("browser")
            item.add_marker("slow")
            if CHROMIUM is None:
                item.add_marker(pytest.mark.skip(reason=NO_CHROMIUM))


# Of a module: Playwright's event loop runs in this thread while the browser is open, and no other
# test's asyncio.run could.
@pytest.fixture(scope="module")
def browsers():
    """By name, started when asked for."""
    with sync_playwright() as running:

        @cache
        def start_browser(name):
            if name == "chromium":
                browser = running.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
                browser.options = {
                    "user_agent": "Mozilla/5.0 (X11; Linux x86_64) Chrome/" + browser.version
                }
            else:  # over WebDriver BiDi, as Mozilla releases it
                browser = running.firefox.launch(executable_path=FIREFOX, channel="moz-firefox")
                browser.options = {}
            started.append(browser)
            return browser

        started = []
        yield start_browser
        for browser in started:
            browser.close()


@pytest.fixture
def chromium(browsers):
    return browsers("chromium")


@pytest.fixture
def browser(request, browsers):
    """Chromium, or what IN_BOTH says."""
    return browsers(getattr(request, "param", "chromium"))


class Tab:
    """A page that remembers what its console said."""

    def __init__(self, context, url):
        self.complaints = []
        self.page = context.new_page()
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.url = url

    def _hear(self, message):
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def open(self, path):
        self.page.goto(self.url + path)
        return self.page


def close(page):
    """As a shopper closes a tab. By itself Playwright does not wait for the end of it.

    Chromium ends a page that has not answered after half a second, as on a machine that is too
    busy. What waits in the storage is sent three minutes later then, which no test waits for.
    """
    began = time.monotonic()
    with page.expect_event("close"):
        page.close(run_before_unload=True)
    if time.monotonic() - began >= 0.5:
        pytest.skip("the browser may have ended the page without hearing it out")


@pytest.fixture
def storefront(start_web, monkeypatch):  # noqa: F811
    monkeypatch.setenv("SHOPIFY_API_KEY", DEV_API_KEY)
    web = start_web(SHOPIFY_API_KEY=DEV_API_KEY)
    server = Storefront(0, web.url, shop=SHOP, customer="", secret=SECRET)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    server.web = web
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def shop(storefront, start_worker, database):  # noqa: F811
    """The demo shop with its worker; `events()` are the stored ones."""
    storefront.worker = start_worker()

    def events():
        rows = database.execute("SELECT event FROM tracked_events ORDER BY occurred_at")
        return [row[0] for row in rows]

    def counted():
        return not database.execute("SELECT 1 FROM report_news LIMIT 1").fetchone()

    def wait_for(number, page=None):
        """`page`: its routes and listeners run only while it is waited for."""
        with suppress(AssertionError):  # the comparison tells more
            wait_until(
                lambda: (
                    (page and page.wait_for_timeout(50)) or (len(events()) >= number and counted())
                )
            )
        return events()

    def answers(yes):
        """Whether the app answers what the shop's pages send; what they load, they load."""
        storefront.target = storefront.web.url if yes else "http://127.0.0.1:1"

    storefront.events, storefront.wait_for, storefront.answers = events, wait_for, answers
    return storefront


@pytest.fixture
def visitor(browser, storefront):
    """A shopper's or a merchant's browser; several may be made."""
    contexts = []

    def visitor(**options):
        contexts.append(browser.new_context(**{**browser.options, **options}))
        contexts[-1].add_init_script(UNDRIVEN)
        return Tab(contexts[-1], storefront.url)

    yield visitor
    for context in contexts:
        context.close()


@pytest.fixture
def open_page(shop, visitor):
    """A page of one's own making in the shop; `beside`: in the same browser as that page."""

    def open_page(html, *, beside=None, path="/bare", **options):
        context = beside.context if beside else visitor(**options).page.context
        page = context.new_page()
        page.complaints = []
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.route("**/bare*", lambda route: route.fulfill(body=html, content_type="text/html"))
        page.goto(shop.url + path)
        return page

    return open_page


def track(page, *names):
    page.evaluate("names => names.forEach((name) => genlook.track(name))", list(names))


def watched_storage(page):
    """`touched` is from now on what the page's scripts do with the storage."""
    page.evaluate(
        "() => { const real = localStorage, seen = window.touched = [];"
        " const hear = (name) => (target, ...given) => { seen.push(name);"
        " return Reflect[name](target, ...given.slice(0, name === 'set' ? 2 : 1)); };"
        " const traps = ['get', 'set', 'has', 'deleteProperty', 'ownKeys'];"
        " Object.defineProperty(window, 'localStorage', {configurable: true, value: new Proxy(real,"
        " Object.fromEntries(traps.map((name) => [name, hear(name)])))}); }"
    )


def sent_batches(page):
    """`batches` is from now on what the page sends: each the ids of its events."""
    page.evaluate(
        "() => { const real = fetch; window.batches = []; window.fetch = (url, options) => {"
        " const {events} = JSON.parse(options.body);"
        " batches.push(events.map((event) => event.$insert_id)); return real(url, options); }; }"
    )


def kept(page):
    """The names of what waits in the browser's storage, oldest first."""
    return page.evaluate(
        "Object.keys(localStorage).filter(key => key.startsWith('genlook:q:'))"
        ".flatMap(key => JSON.parse(localStorage[key]).batches).flatMap(one => one.events)"
        ".map(event => event.event).reverse()"
    )
