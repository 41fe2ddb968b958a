"""The demo shop of the local storefront: products, a mock try-on widget, the way to the merchant's
page."""

import time
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader

from app.dev import DEV_API_KEY, documented_call, events_path
from app.dev.theme import app_embed
from app.shopify.session_token import make_token

TOKEN_LIFETIME = 24 * 60 * 60  # s; Shopify's own live for a minute
PRODUCTS = {
    "linen-shirt": ("1001", "Linen shirt", "€ 49", "#c9b79c"),
    "denim-jacket": ("1002", "Denim jacket", "€ 89", "#6f8fb3"),
    "wool-coat": ("1003", "Wool coat", "€ 189", "#8b7f78"),
}

_pages = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("pages")),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
)


def page(path: str, *, shop: str, url: str) -> bytes | None:
    """The HTML of the shop's front page or of a product's; None where there is none."""
    handle = path.removeprefix("/products/") if path.startswith("/products/") else ""
    if path != "/" and handle not in PRODUCTS:
        return None
    number, title, *_ = PRODUCTS[handle] if handle else ("", "")
    return (
        _pages.get_template("shop.html")
        .render(
            shop=shop,
            products=PRODUCTS,
            handle=handle,
            embed=app_embed(events_path().removesuffix("/public/tracking/events"), number, title),
            call=documented_call(url + events_path()),
        )
        .encode()
    )


def merchant_address(
    target: str, parameters: Iterable[tuple[str, str]], *, shop: str, secret: str, api_key: str
) -> str:
    """The merchant's page with `parameters` and a token as Shopify's admin would add it."""
    token = make_token(
        shop,
        api_key or DEV_API_KEY,
        secret.encode(),
        now=time.time(),
        lifetime=TOKEN_LIFETIME,
    )
    return f"{target}/app?{urlencode({**dict(parameters), 'shop': shop, 'id_token': token})}"
