"""What a theme makes of the app embed in config/extensions, for the demo shop."""

import json
from pathlib import Path
from typing import Any

from liquid import Environment

import config

EXTENSION = Path(config.__file__).parent / "extensions" / "genlook-tracker"
CDN = "/cdn/extensions/genlook-tracker/assets/"  # stands for the path on Shopify's CDN

_environment = Environment()
_environment.add_filter("asset_url", CDN.__add__)


def app_embed(proxy_path: str, product: str = "", title: str = "", **settings: object) -> str:
    """The block's HTML with its own default settings, but for `proxy_path` and `settings`.

    `product` is the number of the page's product, empty on other pages, and `title` what the shop
    calls it.
    """
    block, schema = _block()
    defaults = {setting["id"]: setting["default"] for setting in schema["settings"]}
    shown = {
        "id": product,
        "title": title,
        "selected_or_first_available_variant": {"id": f"{product}1"},
    }
    return _environment.from_string(block).render(
        block={"settings": {**defaults, "proxy_path": proxy_path, **settings}},
        product=shown if product else None,
        request={"page_type": "product" if product else "index"},
    )


def _block() -> tuple[str, dict[str, Any]]:
    """The block's Liquid, and its schema, which a theme reads and does not render."""
    text = (EXTENSION / "blocks" / "tracker.liquid").read_text()
    block, _, rest = text.partition("{% schema %}")
    return block, json.loads(rest.partition("{% endschema %}")[0])


def asset(path: str) -> bytes | None:
    """A file of the extension under its address in the shop; None where there is none."""
    files = {CDN + file.name: file for file in (EXTENSION / "assets").iterdir()}
    return files[path].read_bytes() if path in files else None
