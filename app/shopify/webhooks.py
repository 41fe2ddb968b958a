"""Webhooks that Shopify has signed.

Source: https://shopify.dev/docs/apps/build/webhooks/subscribe/https and, for the topics that every
app must take, https://shopify.dev/docs/apps/build/compliance/privacy-law-compliance
"""

import hmac
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from app.shopify.domain import is_shop

_FAMILIES = ("x-shopify-", "shopify-")
_LONGEST_ID = 255  # characters


@dataclass(frozen=True, slots=True)
class Delivery:
    """`shop` is None where neither the body nor a header names one."""

    id: str
    topic: str
    shop: str | None
    payload: dict[str, Any]


def is_signed(body: bytes, headers: Mapping[str, str], secrets: Sequence[bytes]) -> bool:
    """Whether Shopify has signed this body with one of the secrets. Never raises.

    The names of the headers are in lower case, here and in `read`.
    """
    shown = _header(headers, "hmac-sha256").encode("utf-8", "replace")
    return any(hmac.compare_digest(sign(body, secret).encode(), shown) for secret in secrets)


def is_claimed(headers: Mapping[str, str]) -> bool:
    """Whether there is a signature to check, which takes the whole body."""
    return bool(_header(headers, "hmac-sha256"))


def sign(body: bytes, secret: bytes) -> str:
    return b64encode(hmac.digest(secret, body, "sha256")).decode()


def read(body: bytes, payload: Any, headers: Mapping[str, str]) -> Delivery:
    """What a signed delivery says. The headers are not signed: where the body names the shop, the
    body counts. `payload` is the decoded body."""
    document = payload if isinstance(payload, dict) else {}
    topic = _header(headers, "topic")
    named = (
        document.get("shop_domain"),
        document.get("myshopify_domain"),
        _header(headers, "shop-domain"),
    )
    shop = next((text for text in named if isinstance(text, str) and is_shop(text)), None)
    # Without an id, the same text again is the same delivery.
    id_ = (
        _header(headers, "webhook-id")[:_LONGEST_ID]
        or blake2b(topic.encode() + b"\n" + body, digest_size=16).hexdigest()
    )
    return Delivery(id_, topic, shop, document)


def _header(headers: Mapping[str, str], name: str) -> str:
    return next(
        (headers[family + name].strip() for family in _FAMILIES if family + name in headers), ""
    )
