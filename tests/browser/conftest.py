"""A real browser, a demo shop, and all processes behind it."""

import shutil
import threading
from contextlib import suppress

import pytest
from playwright.sync_api import sync_playwright

from app.dev import DEV_API_KEY
from app.dev.storefront import Storefront
from tests.calls import SECRET, SHOP
from tests.processes.conftest import start, start_web, start_worker  # noqa: F401
from tests.processes.running import ROOT, wait_until

ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-first-run",
]  # fmt: skip
PICTURES = ROOT / ".dev" / "browser"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
NO_CHROMIUM = "no Chromium on this machine: apt-get install chromium"


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
def chromium():
    with sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


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

    storefront.events, storefront.wait_for = events, wait_for
    return storefront


@pytest.fixture
def visitor(chromium, storefront):
    """A shopper's or a merchant's browser; several may be made."""
    contexts = []

    def visitor(**options):
        contexts.append(chromium.new_context(**options))
        return Tab(contexts[-1], storefront.url)

    yield visitor
    for context in contexts:
        context.close()
