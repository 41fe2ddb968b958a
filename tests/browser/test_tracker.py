"""tracker.js on pages that are not as kind as the demo shop's."""

import time

import pytest

from app import tracker
from tests.browser.conftest import (
    AGREED,
    CLASSIC,
    ENDPOINT,
    IN_BOTH,
    SCRIPT,
    YES,
    close,
    track,
    watched_storage,
)  # fmt: skip
from tests.calls import PATH
from tests.processes.running import wait_until


def stored_properties(database):
    rows = database.execute("SELECT event, properties FROM tracked_events ORDER BY event")
    return dict(rows.fetchall())


def test_shopifys_own_script_may_come_after_it(shop, open_page):
    late = (
        "window.Shopify.loadFeatures = (features, done) => setTimeout(() => {"
        f" window.Shopify.customerPrivacy = {YES}; done(); }}, 50)"
    )
    open_page(
        f"<script>window.Shopify = {{}}</script>{CLASSIC}<script>genlook.track('widget:a')</script>"
        f'<script defer src="data:text/javascript,{late}"></script>'
    )
    assert shop.wait_for(1) == ["widget:a"]


def test_what_waits_goes_first_when_the_api_comes_without_a_word(shop, open_page):
    page = open_page(f"{CLASSIC}<script>genlook.track('widget:a')</script>", path="/bare?first")
    page.evaluate("history.pushState(null, '', '/bare?second')")
    page.evaluate(f"() => {{ window.Shopify = {{customerPrivacy: {YES}}} }}")
    track(page, "widget:b")
    assert shop.wait_for(2) == ["widget:a", "widget:b"]


def test_an_event_waits_with_the_address_it_was_tracked_at(shop, open_page, database):
    page = open_page(f"{CLASSIC}<script>genlook.track('widget:a')</script>", path="/bare?first")
    page.evaluate("history.pushState(null, '', '/bare?second')")
    page.evaluate(f"() => {{ window.Shopify = {{customerPrivacy: {YES}}} }}")
    assert shop.wait_for(1) == ["widget:a"]
    (url,) = database.execute("SELECT current_url FROM tracked_events").fetchone()
    assert url.endswith("?first")


def test_properties_are_what_they_were_when_the_event_was_tracked(shop, open_page, database):
    page = open_page(AGREED + CLASSIC)
    page.evaluate(
        "() => { const p = {step: 1}; genlook.track('widget:a', p); p.step = 2;"
        " genlook.track('widget:b', p); p.self = p; genlook.set({product_id: 10n});"
        " genlook.track('widget:c'); }"
    )
    shop.wait_for(3)
    assert stored_properties(database) == {
        "widget:a": {"step": 1}, "widget:b": {"step": 2}, "widget:c": {},
    }  # fmt: skip


def test_events_go_a_second_after_the_first_of_them(shop, open_page):
    page = open_page(AGREED + CLASSIC)
    for _ in range(5):
        track(page, "widget:a")
        page.wait_for_timeout(600)
    assert len(shop.events()) >= 1


def test_many_events_at_once_are_kept_in_one_step(shop, open_page):
    page = open_page(AGREED + CLASSIC)
    watched_storage(page)
    touched = page.evaluate(
        "async () => { for (let n = 0; n < 300; n++) genlook.track('widget:a', {n});"
        " await Promise.resolve(); return touched; }"
    )
    # The visitor and that it was made here, the session, the events
    assert 0 < touched.count("set") <= 4
    assert len(shop.wait_for(300, page)) == 300


def test_two_tabs_lose_nothing_while_nobody_answers(shop, open_page):
    first = open_page(AGREED + CLASSIC)
    first.context.route(ENDPOINT, lambda route: route.fulfill(status=503))
    second = open_page(AGREED + CLASSIC, beside=first)
    for _ in range(12):
        for page in (first, second):
            track(page, *["widget:a"] * 30)
        second.reload()
    kept = second.evaluate(
        "Object.keys(localStorage).filter((key) => key.startsWith('genlook:q:'))"
        ".flatMap((key) => JSON.parse(localStorage[key]).batches).flatMap((one) => one.events)"
        ".map((event) => event.$insert_id)"
    )
    assert len(set(kept)) == len(kept) == 720
    first.context.unroute(ENDPOINT)
    for page in (first, second):
        page.evaluate("dispatchEvent(new Event('online'))")
    assert len(shop.wait_for(720, first)) == 720


@pytest.mark.parametrize(
    "script",
    [
        f'<script type="module" src="{SCRIPT}"></script>',
        f"<main data-endpoint='{PATH}'></main><script>fetch('{SCRIPT}')"
        ".then((reply) => reply.text()).then((text) => (0, eval)(text))</script>",
        f"<script>Object.defineProperty(window, 'crypto', {{value: undefined}})</script>{CLASSIC}",
    ],
)
def test_it_works_however_it_is_loaded(shop, open_page, script):
    page = open_page(AGREED + script)
    page.wait_for_function("window.genlook")
    track(page, "widget:a")
    assert shop.wait_for(1) == ["widget:a"]
    assert page.complaints == []


def test_a_shopper_who_withdraws_leaves_nothing_behind(shop, open_page):
    page = open_page(
        "<script>window.allowed = true; window.Shopify ="
        " {customerPrivacy: {analyticsProcessingAllowed: () => window.allowed}}</script>" + CLASSIC
    )
    page.context.set_offline(True)
    track(page, "widget:a")
    page.wait_for_timeout(50)
    assert len(page.evaluate("Object.keys(localStorage)")) == 3
    page.evaluate(
        "() => { window.allowed = false; genlook.track('widget:b');"
        " document.dispatchEvent(new Event('visitorConsentCollected')); }"
    )
    page.wait_for_timeout(50)
    assert page.evaluate("Object.keys(localStorage)") == []
    page.context.set_offline(False)
    page.evaluate(
        "() => { window.allowed = true;"
        " document.dispatchEvent(new Event('visitorConsentCollected')); }"
    )
    track(page, "widget:c")
    assert shop.wait_for(1) == ["widget:c"]


def test_an_event_that_is_refused_costs_none_of_its_neighbours(shop, open_page):
    page = open_page(AGREED + CLASSIC)
    page.evaluate(
        "() => { genlook.track('widget:a'); genlook.track('widget:big', {pad: 'x'.repeat(40000)});"
        " genlook.track('widget:b'); }"
    )
    assert shop.wait_for(2, page) == ["widget:a", "widget:b"]
    page.wait_for_function("!Object.keys(localStorage).some(key => key.startsWith('genlook:q:'))")


def test_a_reply_that_never_comes_is_given_up(shop, open_page):
    page = open_page(AGREED + CLASSIC)
    page.clock.install()
    held = []
    page.route(ENDPOINT, lambda route: held.append(route) if not held else route.continue_())
    track(page, "widget:a")
    page.clock.run_for(1_100)
    page.wait_for_timeout(200)
    assert held
    page.wait_for_timeout(21_000)  # AbortSignal has a clock of its own
    page.clock.run_for(5_000)
    assert shop.wait_for(1, page) == ["widget:a"]


def test_a_pause_that_is_asked_for_is_kept(shop, open_page):
    page = open_page(AGREED + CLASSIC)
    times = []

    def limit(route):
        times.append(time.monotonic())
        if len(times) == 1:
            route.fulfill(status=429, headers={"Retry-After": "2"})
        else:
            route.continue_()

    page.route(ENDPOINT, limit)
    track(page, "widget:a")
    page.wait_for_timeout(1_300)
    page.evaluate("dispatchEvent(new Event('pagehide'))")
    page.evaluate("dispatchEvent(new Event('pageshow'))")
    assert shop.wait_for(1, page) == ["widget:a"]
    assert times[1] - times[0] >= 2


def test_a_leaving_page_sends_as_much_as_fits(shop, open_page):
    page = open_page(AGREED + CLASSIC)
    page.evaluate(
        "() => { for (let n = 0; n < 40; n++)"
        " genlook.track('widget:a', {n, pad: 'x'.repeat(2000)}) }"
    )
    close(page)
    assert 20 < len(shop.wait_for(25)) < 40


def test_a_hidden_page_does_not_send_the_same_twice(shop, open_page):
    page = open_page(AGREED + CLASSIC)
    sent = []
    page.on("request", lambda request: sent.append(request.url))
    track(page, "widget:a")
    page.evaluate(
        "() => { Object.defineProperty(document, 'hidden', {value: true});"
        " document.dispatchEvent(new Event('visibilitychange'));"
        " dispatchEvent(new Event('pagehide')); }"
    )
    assert shop.wait_for(1, page) == ["widget:a"]
    page.wait_for_timeout(1_300)
    assert len(sent) == 1


@pytest.mark.parametrize("left", ['[{"events":[null],"context":{}}]', "{", '{"batches":[7,{}]}'])
def test_what_is_damaged_in_the_storage_does_no_harm(shop, open_page, left):
    page = open_page("")
    page.evaluate("left => localStorage.setItem('genlook:q:x', left)", left)
    page = open_page(AGREED + CLASSIC, beside=page)
    track(page, "widget:a")
    assert shop.wait_for(1) == ["widget:a"]
    assert page.complaints == []


def test_a_client_id_that_the_widget_has_made_is_taken(shop, open_page, database):
    page = open_page(
        "<script>localStorage.genlook_client_id = 'my-own'</script>" + AGREED + CLASSIC
    )
    track(page, "widget:a")
    shop.wait_for(1)
    assert database.execute("SELECT client_id FROM tracked_events").fetchone() == ("my-own",)
    assert page.evaluate("localStorage.genlook_client_id") == "my-own"


def test_as_a_part_of_another_script_it_sends_where_that_scripts_tag_says(shop, open_page):
    page = open_page("")
    page.context.route(
        "**/extensions/widget.js",
        lambda route: route.fulfill(body=tracker.SCRIPT, content_type="text/javascript"),
    )
    bundle = f'<script src="/extensions/widget.js" data-endpoint="{PATH}"></script>'
    page = open_page(AGREED + bundle, beside=page)
    track(page, "widget:a")
    assert shop.wait_for(1, page) == ["widget:a"]


def test_what_an_old_browser_has_not_is_not_the_pages_fault(shop, open_page):
    page = open_page(f"<script>AbortSignal.timeout = undefined</script>{AGREED}{CLASSIC}")
    track(page, "widget:a")
    assert shop.wait_for(1, page) == ["widget:a"]
    page = open_page(f"<script>window.fetch = undefined</script>{AGREED}{CLASSIC}")
    track(page, "widget:a")
    page.wait_for_timeout(1_300)
    assert page.complaints == []
    assert page.evaluate("Object.keys(localStorage).some((key) => key.startsWith('genlook:q:'))")


def test_a_batch_of_which_nothing_is_valid_is_refused_once(shop, open_page, database):
    page = open_page(AGREED + CLASSIC)
    sent = []
    page.on("request", lambda request: sent.append(request.url))
    track(page, *["No such form"] * 8)
    wait_until(
        lambda: (
            page.wait_for_timeout(50)
            or database.execute("SELECT count(*) FROM rejected_events").fetchone() == (8,)
        )
    )
    page.wait_for_function("!Object.keys(localStorage).some(key => key.startsWith('genlook:q:'))")
    assert len(sent) == 1


@IN_BOTH
def test_what_a_hidden_page_tracks_and_cannot_send_is_sent_by_another(shop, open_page):
    page = open_page(AGREED + CLASSIC)
    page.route(ENDPOINT, lambda route: route.abort())
    page.evaluate(
        "() => { Object.defineProperty(document, 'hidden', {value: true});"
        " document.dispatchEvent(new Event('visibilitychange')); genlook.track('widget:late'); }"
    )
    page.wait_for_timeout(50)
    open_page(AGREED + CLASSIC, beside=page)
    assert shop.wait_for(1) == ["widget:late"]
