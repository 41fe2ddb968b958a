"""The whole system on a developer's machine. Nothing in here runs in production."""

import os
import time
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from app.shopify.app_proxy import sign

ROOT = Path(__file__).resolve().parents[2]
DEV_SECRET = "dev-secret"  # noqa: S105 - signs nothing but a developer's own requests
DEV_API_KEY = "dev-key"
DEV_SHOP = "genlook-dev.myshopify.com"

_CALL = r"""curl -X POST "URL" \
  -H "Content-Type: application/json" \
  -d '{"events":[{"event":"widget:button_click","properties":{"product_id":"gid://shopify/Product/456"},"timestamp":"TIME","$insert_id":"ID"}],
       "context":{"$current_url":"https://yourstore.com/products/tshirt","$host":"yourstore.com","$session_id":"session_abc123","genlook_client_id":"550e8400-e29b-41d4-a716-446655440000","genlook_product_id":"gid://shopify/Product/456"}}'"""


def events_path() -> str:
    """Where the storefront's events go; the same on Shopify's domain and on the app's."""
    prefix = os.environ.get("APP_PROXY_PATH", "").strip() or "/apps/proxy_genlook-x"
    return prefix.rstrip("/") + "/public/tracking/events"


def signing_secret() -> str | None:
    """The newest of SHOPIFY_API_SECRET's comma-separated list, as Shopify would sign with."""
    return os.environ.get("SHOPIFY_API_SECRET", "").split(",")[0].strip() or None


def signed_query(
    path: str, parameters: Iterable[tuple[str, str]], *, shop: str, customer: str, secret: str
) -> str:
    """What Shopify would make of a request to `path`: the caller's parameters, its own, and the
    signature. `customer` is empty for a guest.
    """
    own = [
        ("shop", shop),
        ("logged_in_customer_id", customer),
        ("path_prefix", "/".join(path.split("/")[:3])),
        ("timestamp", str(int(time.time()))),
    ]
    return sign([*parameters, *own], secret)


def documented_call(url: str) -> str:
    """The call of the documentation, sent to `url`, ready to paste into a shell: of this moment and
    with an id of its own, so that its event is stored."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    call = _CALL.replace("ID", f"event_{uuid.uuid4()}", 1).replace("TIME", now, 1)
    return call.replace("URL", url, 1)
