import base64
import hashlib
import hmac
import json

import pytest

from app.shopify.webhooks import is_signed, read

BODY = json.dumps({"shop_domain": "body.myshopify.com"}).encode()
SECRETS = (b"new", b"old")


def signature(body=BODY, secret=b"new"):
    return base64.b64encode(hmac.new(secret, body, hashlib.sha256).digest()).decode()


@pytest.mark.parametrize("name", ["x-shopify-hmac-sha256", "shopify-hmac-sha256"])
@pytest.mark.parametrize("secret", SECRETS)
def test_every_secret_and_both_families_of_headers_are_good(name, secret):
    assert is_signed(BODY, {name: signature(secret=secret)}, SECRETS)


@pytest.mark.parametrize(
    "shown",
    [None, "", " ", "é\ud83d", signature(secret=b"other"), signature(b"{}"), signature()[:-1],
     signature().lower(), hmac.new(b"new", BODY, hashlib.sha256).hexdigest()],
)  # fmt: skip
def test_all_else_is_not_signed(shown):
    headers = {} if shown is None else {"x-shopify-hmac-sha256": shown}
    assert not is_signed(BODY, headers, SECRETS)


def test_what_the_body_says_counts_more_than_a_header_which_is_not_signed():
    headers = {"x-shopify-shop-domain": "header.myshopify.com"}
    assert read(BODY, json.loads(BODY), headers).shop == "body.myshopify.com"
    assert read(b"{}", {"domain": "ann.com"}, headers).shop == "header.myshopify.com"
    assert read(b"[]", [], {"x-shopify-shop-domain": "evil.com"}).shop is None


def test_without_an_id_the_same_text_is_the_same_delivery():
    ids = {read(BODY, {}, {"x-shopify-topic": topic}).id for topic in ("a/b", "a/b", "c/d")}
    assert len(ids) == 2
    assert read(BODY, {}, {"shopify-webhook-id": "x"}).id == "x"
