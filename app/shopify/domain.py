"""What a shop's own domain looks like."""

import re

_SHOP = re.compile(r"[a-z0-9][a-z0-9-]*\.myshopify\.com")
_LONGEST = 255  # as a DNS name; the column behind it is indexed


def is_shop(text: str) -> bool:
    """Whether this is a shop's own domain, such as your-store.myshopify.com."""
    return len(text) <= _LONGEST and _SHOP.fullmatch(text) is not None
