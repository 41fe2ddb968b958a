"""Bodies of webhooks, as Shopify documents them."""

from tests.calls import SHOP


def redaction(customer=None, email=None, shop=SHOP):
    """As https://shopify.dev/docs/apps/build/compliance/privacy-law-compliance has it."""
    return {
        "shop_id": 954889,
        "shop_domain": shop,
        "customer": {"id": customer, "email": email, "phone": "555-625-1199"},
        "orders_to_redact": [299938, 280263, 220458],
    }
