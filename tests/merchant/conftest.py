"""Asking as a merchant does."""

import html
import re
import time

import pytest

from app.shopify.session_token import make_token
from tests.calls import SECRET, SHOP

KEY = "the-key"
OTHER = "other-shop.myshopify.com"


def token(shop=SHOP, secret=SECRET, key=KEY, age=0):
    return make_token(shop, key, secret.encode(), now=time.time() - age, lifetime=60)


@pytest.fixture
def merchant(calling):
    """Asks as a merchant's browser does."""
    caller = calling(shopify_api_key=KEY, intake="store")

    def get(path, shown=None, **query):
        headers = {"Authorization": f"Bearer {token() if shown is None else shown}"}
        return caller._client.get(path, query_string=query, headers=headers)

    get.client = caller._client
    get.caller = caller
    return get


def text_of(page):
    return " ".join(html.unescape(re.sub("<[^>]+>", " ", page.text)).split())


def save(merchant, **settings):
    return merchant.client.put(
        "/app/api/settings", json=settings, headers={"Authorization": f"Bearer {token()}"}
    )
