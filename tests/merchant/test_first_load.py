"""Who is shown the page, and how the admin's session token comes and is made anew."""

import pytest

from tests.calls import SHOP
from tests.merchant.conftest import OTHER, token


@pytest.mark.parametrize(
    "shown",
    ["", "no.token.here", token(secret="forged-forged-forged-forged-forged"), token(key="other"),
     token(age=120)],
)  # fmt: skip
def test_a_fetch_without_a_good_token_is_asked_for_another(merchant, shown):
    for path in ("/app/api/report", "/app/api/events", "/app/api/table.csv"):
        reply = merchant(path, shown)
        assert reply.status_code == 401
        assert reply.headers["X-Shopify-Retry-Invalid-Session-Request"] == "1"
        assert reply.get_json()["code"] == "INVALID_SESSION"


def first_load(merchant, **query):
    return merchant.client.get("/app", query_string=query)


def test_the_first_load_brings_its_token_in_the_address(merchant):
    reply = first_load(merchant, id_token=token(), shop=OTHER)
    assert reply.status_code == 200
    assert SHOP in reply.text
    policy = reply.headers["Content-Security-Policy"]
    assert f"frame-ancestors https://{SHOP} https://admin.shopify.com;" in policy


@pytest.mark.parametrize("stale", [None, "stale"])
def test_a_stale_first_load_goes_through_the_page_for_app_bridge(merchant, stale):
    sent = {"id_token": token(age=120)} if stale else {}
    reply = first_load(merchant, **sent, shop=SHOP, host="abc", range="7")
    assert reply.status_code == 302
    assert "id_token" not in reply.location
    bounce = merchant.client.get(reply.location)
    assert bounce.status_code == 200
    assert "app-bridge.js" in bounce.text
    policy = bounce.headers["Content-Security-Policy"]
    assert f"frame-ancestors https://{SHOP} https://admin.shopify.com;" in policy
    assert "shopify-reload=%2Fapp%3F" in reply.location
    assert "range%3D7" in reply.location


def test_the_way_to_a_new_token_may_be_framed_by_the_old_ones_shop(merchant):
    reply = first_load(merchant, id_token=token(age=120), shop=OTHER)
    assert f"frame-ancestors https://{SHOP} " in reply.headers["Content-Security-Policy"]


def test_a_forged_first_load_is_refused(merchant):
    forged = first_load(merchant, id_token=token(secret="forged-forged-forged-forged"), shop=SHOP)
    assert forged.status_code == 401


@pytest.mark.parametrize(
    ("sent", "status", "words"),
    [
        ({"range": "<5>"}, 400, "range must be one of"),
        ({"id_token": "forged"}, 401, "Open the app"),
    ],
)
def test_a_browser_is_told_in_the_admins_frame_what_is_wrong(merchant, sent, status, words):
    reply = merchant.client.get(
        "/app",
        query_string={"id_token": token(), "shop": SHOP, **sent},
        headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"},
    )
    assert (reply.status_code, reply.mimetype) == (status, "text/html")
    assert words in reply.text
    policy = reply.headers["Content-Security-Policy"]
    assert f"frame-ancestors https://{SHOP} https://admin.shopify.com;" in policy


@pytest.mark.parametrize(("scheme", "status"), [("bearer ", 200), ("", 401), ("Token ", 401)])
def test_the_token_comes_as_a_bearers(merchant, scheme, status):
    headers = {"Authorization": f"{scheme}{token()}"}
    assert merchant.client.get("/app/api/report", headers=headers).status_code == status


@pytest.mark.parametrize(
    "address", ["https://evil.com", "//evil.com", "/app\\evil", "javascript:x"]
)
def test_app_bridge_is_never_sent_elsewhere(merchant, address):
    reply = merchant.client.get("/app/session-token", query_string={"shopify-reload": address})
    assert reply.status_code == 400
