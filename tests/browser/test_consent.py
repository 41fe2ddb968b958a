"""The shopper's yes, no and silence, in all orders."""

import pytest

from tests.browser.conftest import (
    AGREED,
    CLASSIC,
    EMBED,
    ENDPOINT,
    IN_BOTH,
    NEEDS_FIREFOX,
    SCRIPT,
    kept,
    track,
    watched_storage,
)  # fmt: skip

# Shopify's customer privacy API, with the answer in a cookie as Shopify keeps it.
ASKED = """<script>
const answer = () => (/answer=(\\w*)/.exec(document.cookie) || ["", ""])[1];
window.Shopify = {customerPrivacy: {
  analyticsProcessingAllowed: () => answer() === "yes",
  currentVisitorConsent: () => ({marketing: "", analytics: answer()}),
}};
window.say = (text) => {
  document.cookie = "answer=" + text;
  document.dispatchEvent(new CustomEvent("visitorConsentCollected"));
};
</script>"""
KEYS = "Object.keys(localStorage).sort()"


ORDERS = [  # the steps, what arrives in the end, and what does if the page is reloaded after each
    (["a", "yes", "b"], ["a", "b"], ["b"]),
    (["no", "a", "yes", "b"], ["b"], ["b"]),
    (["yes", "a", "no", "b", "yes", "c"], ["c"], ["c"]),
    (["a", "no", "b", "yes", "c"], ["c"], ["c"]),
    (["yes", "a", "no"], [], []),
    # "a" is left to the next page, which takes it up when this one has been silent for minutes
    (["yes", "a", "", "b", "yes", "c"], ["a", "b", "c"], ["c"]),
]


@pytest.mark.parametrize(
    ("browser", "reload"),
    [
        ("chromium", False),
        ("chromium", True),
        pytest.param("firefox", True, marks=NEEDS_FIREFOX),
    ],
    indirect=["browser"],
)
def test_an_event_is_sent_if_it_was_tracked_after_a_yes_or_before_any_answer(
    shop, open_page, reload
):
    expected = []
    for number, (steps, here, reloaded) in enumerate(ORDERS):
        shop.answers(False)
        page = open_page(ASKED + EMBED)
        for step in steps:
            if step in ("yes", "no", ""):
                page.evaluate("text => say(text)", step)
            else:
                track(page, f"widget:{step}{number}")
            page.wait_for_timeout(20)
            if reload:
                page.reload()
        shop.answers(True)
        page.evaluate("dispatchEvent(new Event('online'))")
        expected += [f"widget:{name}{number}" for name in (reloaded if reload else here)]
        if steps[-1] == "no":
            assert page.evaluate(KEYS) == []
        # Before the shop is silent again, or it is at the page's next try that the events arrive.
        assert sorted(shop.wait_for(len(expected), page)) == sorted(expected)
    page.wait_for_timeout(1_200)
    assert len(shop.events()) == len(expected)


def test_a_no_that_nobody_announced_counts_as_soon_as_anything_happens(shop, open_page):
    page = open_page(ASKED + EMBED)
    shop.answers(False)
    page.evaluate("say('yes')")
    track(page, "widget:a")
    page.wait_for_timeout(50)
    assert kept(page) == ["widget:a"]
    page.evaluate("document.cookie = 'answer=no'")
    track(page, "widget:b")
    assert page.evaluate(KEYS) == []
    page.evaluate("document.cookie = 'answer=yes'")
    shop.answers(True)
    track(page, "widget:c")
    assert shop.wait_for(1, page) == ["widget:c"]


def test_a_no_in_one_tab_is_a_no_in_the_other(shop, open_page):
    first = open_page(ASKED + EMBED)
    shop.answers(False)
    first.evaluate("say('yes')")
    second = open_page(ASKED + EMBED, beside=first)
    track(second, "widget:a")
    second.wait_for_timeout(50)
    first.evaluate("say('no')")
    first.evaluate("say('yes')")
    second.wait_for_timeout(50)
    shop.answers(True)
    track(second, "widget:b")
    assert shop.wait_for(1, second) == ["widget:b"]


@IN_BOTH
def test_nothing_is_touched_before_a_decision_and_the_widgets_own_id_never(
    shop, open_page, database
):
    page = open_page(ASKED + EMBED)
    page.evaluate("localStorage.genlook_client_id = 'my-own'; localStorage.theme = 'dark'")
    watched_storage(page)
    track(page, "widget:a")
    page.evaluate("dispatchEvent(new Event('pagehide')); dispatchEvent(new Event('pageshow'))")
    page.wait_for_timeout(1_200)
    assert page.evaluate("touched") == []
    page.evaluate("say('no')")
    assert "ownKeys" in page.evaluate("touched")
    assert page.evaluate(KEYS) == ["genlook_client_id", "theme"]
    page.evaluate("say('yes')")
    track(page, "widget:b")
    assert shop.wait_for(1) == ["widget:b"]
    assert database.execute("SELECT client_id FROM tracked_events").fetchone() == ("my-own",)
    page.evaluate("say('no')")
    assert page.evaluate(KEYS) == ["genlook_client_id", "theme"]


def test_an_id_that_the_tracker_made_goes_with_a_no(shop, open_page):
    page = open_page(ASKED + EMBED)
    page.evaluate("say('yes')")
    track(page, "widget:a")
    assert "genlook_client_id" in page.evaluate(KEYS)
    page.reload()
    page.evaluate("say('no')")
    assert page.evaluate(KEYS) == []


GRANTED = f'<script src="{SCRIPT}" data-consent="granted"></script>'
SIGNAL = "<script>Object.defineProperty(navigator, 'globalPrivacyControl', {value: true})</script>"
REFUSED = "<script>document.cookie = 'answer=no'</script>" + ASKED
OLD_NO = (
    "<script>window.Shopify = {customerPrivacy: {analyticsProcessingAllowed: () => false}}</script>"
)
LOADING = "<script>window.Shopify = {loadFeatures: () => {}}</script>"


def test_without_shopifys_api_the_shop_says_and_otherwise_nothing_is_sent(shop, open_page):
    cases = [  # the page, what genlook.consent is told, and whether it sends
        (CLASSIC, None, False),
        (CLASSIC, True, True),
        (CLASSIC, "true", False),
        (CLASSIC, False, False),
        (GRANTED, None, True),
        (GRANTED, False, False),
        (LOADING + CLASSIC, None, False),
        (LOADING + GRANTED, None, True),
        (SIGNAL + CLASSIC, None, False),
        (SIGNAL + CLASSIC, True, False),
        (SIGNAL + GRANTED, None, False),
        (SIGNAL + LOADING + GRANTED, None, False),
        (SIGNAL + AGREED + CLASSIC, None, True),
        (AGREED + CLASSIC, False, False),
        (OLD_NO + CLASSIC, True, False),
        (ASKED + EMBED, True, True),
        (ASKED + GRANTED, None, True),
        (REFUSED + CLASSIC, True, False),
        (REFUSED + GRANTED, None, False),
    ]
    expected = []
    for number, (html, said, sends) in enumerate(cases):
        page = open_page(html)
        if said is not None:
            page.evaluate("said => genlook.consent(said)", said)
        track(page, f"widget:case{number}")
        if sends:
            expected.append(f"widget:case{number}")
        page.evaluate("dispatchEvent(new Event('pagehide'))")
    assert sorted(shop.wait_for(len(expected), page)) == sorted(expected)
    page.wait_for_timeout(1_200)
    assert len(shop.events()) == len(expected)


def test_the_shops_own_no_drops_what_waits_and_what_follows(shop, open_page):
    page = open_page(EMBED)
    shop.answers(False)
    track(page, "widget:a")
    page.evaluate("genlook.consent(true)")
    track(page, "widget:b")
    page.wait_for_timeout(50)
    assert kept(page) == ["widget:a", "widget:b"]
    page.evaluate("genlook.consent(false)")
    assert page.evaluate(KEYS) == []
    track(page, "widget:c")
    shop.answers(True)
    page.evaluate("genlook.consent(true)")
    track(page, "widget:d")
    assert shop.wait_for(1, page) == ["widget:d"]


def test_a_reply_that_comes_after_the_no_leaves_nothing_behind(open_page):
    page = open_page(ASKED + EMBED)
    held = []
    page.route(ENDPOINT, lambda route: held.append(route))
    page.evaluate("say('yes')")
    for _ in range(2):
        track(page, "widget:a")
        page.wait_for_timeout(1_200)
        page.evaluate("say('no')")
        status = 503 if len(held) == 1 else 429
        held[-1].fulfill(status=status)
        page.wait_for_timeout(200)
        assert page.evaluate(KEYS) == []
        page.evaluate("say('yes')")
    assert len(held) == 2
