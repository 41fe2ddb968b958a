"""Pages that bend the language, fill the storage or have addresses with secrets in them."""

from pathlib import Path

from tests.browser.conftest import AGREED, CLASSIC, EMBED, IN_BOTH, SCRIPT, close, kept, track

# As Prototype 1.6 does it, which old themes still load.
PROTOTYPE = """<script>
Array.prototype.toJSON = function () {
  return "[" + this.map((one) => JSON.stringify(one)).join(", ") + "]";
};
String.prototype.toJSON = function () { return JSON.stringify(this + ""); };
Array.prototype.reduce = function () { return this.length > 1 ? this : this[0]; };
Object.keys = (object) => {
  const keys = []; for (const key in object) keys.push(key); return keys;
};
Date.prototype.toISOString = () => "yesterday";
Date.prototype.toJSON = () => { throw new Error("no"); };
</script>"""
REAL_PROTOTYPE = (
    f"<script>{(Path(__file__).parent / 'vendor' / 'prototype.js').read_text()}</script>"
)
HELD = "Object.keys(localStorage).filter(key => key.startsWith('genlook:q:'))"


def stored(database):
    return dict(database.execute("SELECT event, properties FROM tracked_events").fetchall())


def test_no_page_bends_what_is_sent(shop, open_page, database):
    page = open_page(AGREED + PROTOTYPE + CLASSIC)
    page.evaluate(
        "() => { const loop = {kept: 1}; loop.self = loop; let deep = 1;"
        " for (let n = 0; n < 2000; n++) deep = [deep];"
        " genlook.track('widget:a', {list: [1, 'two', [3]], big: 10n, loop, deep,"
        " at: new Date(Date.UTC(2026, 0, 2, 3, 4, 5, 6)), nothing: undefined, call() {},"
        " get bad() { throw new Error('no'); }, same: [loop.kept, loop.kept], odd: NaN}); }"
    )
    assert shop.wait_for(1, page) == ["widget:a"]
    properties = stored(database)["widget:a"]
    assert properties.pop("deep")
    assert properties == {
        "list": [1, "two", [3]], "at": "2026-01-02T03:04:05.006Z", "loop": {"kept": 1},
        "same": [1, 1], "odd": None,
    }  # fmt: skip
    (seconds,) = database.execute(
        "SELECT abs(extract(epoch FROM occurred_at - received_at)) FROM tracked_events"
    ).fetchone()
    assert seconds < 60


@IN_BOTH
def test_prototype_js_itself_costs_nothing(shop, open_page, database):
    properties = {"list": [1, "two", {"three": [4]}], "none": None, "text": "é", "empty": []}
    for scripts in (REAL_PROTOTYPE + CLASSIC, CLASSIC + REAL_PROTOTYPE):
        page = open_page(AGREED + scripts)
        assert page.evaluate("JSON.stringify({list: [1]})") == '{"list":"[1]"}'
        shop.answers(False)
        page.evaluate("properties => genlook.track('widget:a', properties)", properties)
        page.evaluate("genlook.track('widget:b', {at: new Date(0)})")
        page.evaluate("dispatchEvent(new Event('pagehide'))")
        shop.answers(True)
        page.reload()  # from the storage, with the page's own JSON again
    assert sorted(shop.wait_for(4, page)) == ["widget:a", "widget:a", "widget:b", "widget:b"]
    rows = database.execute("SELECT event, properties FROM tracked_events ORDER BY event")
    assert rows.fetchall() == [
        ("widget:a", properties), ("widget:a", properties),
        ("widget:b", {"at": "1970-01-01T00:00:00.000Z"}),
        ("widget:b", {"at": "1970-01-01T00:00:00.000Z"}),
    ]  # fmt: skip
    assert page.complaints == []


BROKEN = [
    "{get() { throw new DOMException('denied', 'SecurityError') }}",
    "{value: null}",
    "{value: new Proxy(localStorage, {set() { throw new DOMException('full') }})}",
    "{value: new Proxy({}, {set: () => true})}",  # forgets
]


@IN_BOTH
def test_with_a_broken_storage_events_arrive_in_one_session_of_nobody(shop, open_page, database):
    pages = []
    for broken in BROKEN:
        page = open_page(
            f"<script>Object.defineProperty(window, 'localStorage', {broken})</script>"
            + AGREED + CLASSIC
        )  # fmt: skip
        pages.append(page)
        shop.answers(False)
        track(page, "widget:a")
        page.wait_for_timeout(1_100)
        shop.answers(True)
        page.evaluate("dispatchEvent(new Event('pageshow'))")
        track(page, "widget:b")
    assert sorted(shop.wait_for(8, page)) == ["widget:a"] * 4 + ["widget:b"] * 4
    assert database.execute(
        "SELECT count(DISTINCT session_id), count(client_id) FROM tracked_events"
    ).fetchone() == (4, 0)
    for page in pages:
        page.evaluate("genlook.consent(false)")
        assert page.complaints == []


@IN_BOTH
def test_the_storage_is_left_to_the_shop(shop, open_page):
    page = open_page(AGREED + EMBED)
    shop.answers(False)
    page.evaluate(
        "() => { for (let n = 0; n < 220; n++)"
        " genlook.track('widget:a', {n, pad: 'ü'.repeat(14000)}) }"
    )
    page.wait_for_timeout(100)
    size = page.evaluate(f"new Blob({HELD}.map((key) => localStorage[key])).size")
    assert 200_000 < size <= 262_144
    page.evaluate("localStorage.cart = 'x'.repeat(4000000)")
    last = page.evaluate(
        f"JSON.parse(localStorage[{HELD}[0]]).batches.flatMap((one) => one.events)[0].properties.n"
    )
    assert last == 219
    beside = open_page(AGREED + EMBED, beside=page)
    beside.evaluate(
        "for (let n = 0; n < 20; n++) genlook.track('widget:b', {pad: 'x'.repeat(20000)})"
    )
    beside.wait_for_timeout(100)
    assert page.evaluate(f"new Blob({HELD}.map((key) => localStorage[key])).size") <= 262_144
    shop.answers(True)
    page.evaluate("dispatchEvent(new Event('online'))")
    assert len(shop.wait_for(100, page)) >= 100  # the server takes 4 MiB a minute from a visitor


def test_of_what_a_full_storage_cannot_hold_the_newest_is_kept(shop, open_page):
    page = open_page(AGREED + EMBED)
    shop.answers(False)
    track(page, "widget:first")
    page.evaluate(
        "() => { let text = 'x'.repeat(1 << 22); while (text.length > 2000) { try {"
        " localStorage.fill = (localStorage.fill || '') + text; } catch (_) {"
        " text = text.slice(text.length / 2); } }"
        " localStorage.fill = localStorage.fill.slice(9000); }"
    )
    page.evaluate(
        "for (let n = 0; n < 60; n++) genlook.track('widget:b', {n, pad: 'x'.repeat(500)})"
    )
    page.wait_for_timeout(100)
    waiting = page.evaluate(
        f"JSON.parse(localStorage[{HELD}[0]]).batches.flatMap((one) => one.events)"
        ".map((event) => event.properties?.n)"
    )
    waiting = [
        n for n in reversed(waiting) if n is not None
    ]  # the first is small, and has room beside them
    assert 3 < len(waiting) < 60
    assert waiting == list(range(60 - len(waiting), 60))


def test_what_is_older_than_a_week_is_given_up_and_what_is_younger_is_not(shop, open_page):
    page = open_page("")
    page.evaluate(
        "() => { const at = (days) => new Date(Date.now() - days * 864e5).toISOString();"
        " const one = (event, days) =>"
        " ({timestamp: at(days), $insert_id: event, event, properties: {}});"
        " localStorage['genlook:q:old'] = JSON.stringify({left: true, at: Date.now(), batches:"
        " [{context: {}, events: [one('widget:old', 7.1), one('widget:young', 6.9)]}]}); }"
    )
    track(open_page(AGREED + CLASSIC, beside=page), "widget:new")
    assert sorted(shop.wait_for(2)) == ["widget:new", "widget:young"]


def test_after_days_without_any_success_nothing_is_kept_until_one(shop, open_page):
    page = open_page(AGREED + EMBED)
    shop.answers(False)
    track(page, "widget:a")
    page.wait_for_function("JSON.parse(localStorage.genlook_session).since")
    assert kept(page) == ["widget:a"]
    page.evaluate(
        "() => { const state = JSON.parse(localStorage.genlook_session);"
        " state.since -= 3.1 * 864e5; localStorage.genlook_session = JSON.stringify(state); }"
    )
    track(page, "widget:b")
    page.wait_for_timeout(50)
    assert kept(page) == []
    shop.answers(True)
    page.evaluate("dispatchEvent(new Event('online'))")
    assert sorted(shop.wait_for(2, page)) == ["widget:a", "widget:b"]
    page.wait_for_function("!JSON.parse(localStorage.genlook_session).since")
    shop.answers(False)
    track(page, "widget:c")
    page.wait_for_timeout(50)
    assert kept(page) == ["widget:c"]


def test_a_dead_tabs_events_are_taken_up_within_minutes(shop, open_page):
    page = open_page("")
    page.evaluate(
        "() => { for (const minutes of [1, 4]) {"
        " const event = {event: 'widget:a', $insert_id: 'id' + minutes, properties: {minutes},"
        " timestamp: new Date().toISOString()};"
        " localStorage['genlook:q:' + minutes] = JSON.stringify({left: false,"
        " at: Date.now() - minutes * 6e4, batches: [{context: {}, events: [event]}]}); } }"
    )
    page = open_page(AGREED + CLASSIC, beside=page)
    assert shop.wait_for(1, page) == ["widget:a"]
    assert page.evaluate(HELD) == ["genlook:q:1"]
    page = page.context.new_page()
    page.clock.install()
    page.goto(shop.url + "/")
    page.clock.run_for(4 * 60_000)
    assert shop.wait_for(2, page) == ["widget:a", "widget:a"]


@IN_BOTH
def test_a_pause_that_was_asked_for_holds_on_the_next_page(shop, open_page):
    for number, (status, after) in enumerate([(429, "60"), (503, "date")]):
        page = open_page(AGREED + EMBED)
        if after == "date":
            after = page.evaluate("new Date(Date.now() + 60000).toUTCString()")
        sent = []
        page.context.on("request", lambda request, sent=sent: sent.append(request.url))
        reply = {"status": status, "headers": {"Retry-After": after}}
        page.context.route(
            "**/tracking/events", lambda route, request, reply=reply: route.fulfill(**reply)
        )
        track(page, f"widget:a{number}")
        page.wait_for_function("JSON.parse(localStorage.genlook_session).until")
        wait = page.evaluate("JSON.parse(localStorage.genlook_session).until - Date.now()")
        assert 50_000 < wait <= 61_000
        other = open_page(AGREED + EMBED, beside=page)
        track(other, f"widget:b{number}")
        other.wait_for_timeout(1_500)
        close(other)
        page.reload()
        assert len([url for url in sent if "events" in url]) == 1
        page.evaluate(
            "() => { const state = JSON.parse(localStorage.genlook_session);"
            " delete state.until; localStorage.genlook_session = JSON.stringify(state); }"
        )
        page.context.unroute("**/tracking/events")
        page.evaluate("dispatchEvent(new Event('online'))")
        track(page, f"widget:c{number}")
        assert len(shop.wait_for(3 * number + 3, page)) == 3 * number + 3


def test_a_session_ends_though_its_clock_ran_ahead(shop, open_page, database):
    page = open_page("")
    page.evaluate(
        "localStorage.genlook_session = JSON.stringify({id: 'ahead', at: Date.now() + 864e5})"
    )
    track(open_page(AGREED + CLASSIC, beside=page), "widget:a")
    shop.wait_for(1)
    assert database.execute("SELECT session_id FROM tracked_events").fetchone() != ("ahead",)


SECRETS = (
    "/account/reset/12/abcdef0123456789abcdef?email=a%40b.example&token=1&customer[password]=2"
    "&code=3&q=linen+shirt&variant=40012345678901&utm_content=0123456789abcdef&page=2"
    "&id=550e8400-e29b-41d4-a716-446655440000&next=%2Freset%3Ftoken%3D4&mine=x@y.example#fragment"
)
CLEAN = (
    "/account/reset/12/redacted?email=redacted&token=redacted&customer[password]=redacted"
    "&code=redacted&q=linen+shirt&variant=40012345678901&utm_content=0123456789abcdef&page=2"
    "&id=redacted&next=redacted&mine=redacted"
)


def test_secrets_in_addresses_stay_in_the_browser(shop, open_page, database):
    for extra in ("", " data-keep-url"):
        page = open_page(f'{AGREED}<script src="{SCRIPT}"{extra}></script>')
        page.evaluate("path => history.pushState(null, '', path)", SECRETS)
        track(page, "widget:kept" if extra else "widget:clean")
    assert len(shop.wait_for(2)) == 2
    rows = database.execute(
        "SELECT event, current_url, context->>'$pathname' FROM tracked_events ORDER BY event"
    ).fetchall()
    assert rows == [
        ("widget:clean", shop.url + CLEAN, CLEAN.split("?")[0]),
        ("widget:kept", shop.url + SECRETS, SECRETS.split("?")[0]),
    ]


def test_no_address_is_too_long(shop, open_page, database):
    page = open_page(AGREED + CLASSIC, path="/bare?" + "q=word&" * 8_000)
    track(page, "widget:a")
    assert shop.wait_for(1, page) == ["widget:a"]
    (url,) = database.execute("SELECT current_url FROM tracked_events").fetchone()
    assert url == (shop.url + "/bare?" + "q=word&" * 8_000)[:2000]


def test_no_address_holds_up_the_page(open_page):
    page = open_page(AGREED + CLASSIC)
    for text in ("key", "a", "pass%3", "12345678-", "@", "?a="):
        took = page.evaluate(
            "text => { history.pushState(null, '', '/bare?q=' + text.repeat(90000 / text.length));"
            " const start = performance.now(); genlook.track('widget:a');"
            " return performance.now() - start; }",
            text,
        )
        assert took < 2_000, text  # ms; quadratic, it takes 30 s


@IN_BOTH
def test_a_leaving_page_sends_the_small_ones_beside_one_that_does_not_fit(shop, open_page):
    page = open_page(AGREED + CLASSIC)
    page.evaluate(
        "() => { for (const [n, size] of [30000, 31000, 29000, 5, 30000, 6].entries())"
        " genlook.track(`widget:a${n}`, {pad: 'x'.repeat(size)}) }"
    )
    close(page)
    assert sorted(shop.wait_for(3)) == ["widget:a3", "widget:a4", "widget:a5"]
