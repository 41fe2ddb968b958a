from datetime import UTC, datetime

from tests.calls import CONTEXT, EVENT, SHOP


def test_the_documented_call_is_answered_and_stored(caller):
    reply = caller.post({"events": [EVENT], "context": CONTEXT}, customer="77")

    assert reply.status_code == 200
    assert reply.data == b'{"success":true}'
    [row] = caller.rows()
    received_at = row.pop("received_at")
    assert abs((datetime.now(UTC) - received_at).total_seconds()) < 60
    assert row == {
        "shop_domain": SHOP,
        "event": "widget:button_click",
        "occurred_at": datetime(2024, 1, 15, 10, 30, tzinfo=UTC),
        "sent_timestamp": datetime(2024, 1, 15, 10, 30, tzinfo=UTC),
        "insert_id": "event_123",
        "client_id": "550e8400-e29b-41d4-a716-446655440000",
        "session_id": "session_abc123",
        "pageview_id": None,
        "product_id": "gid://shopify/Product/456",
        "variant_id": None,
        "customer_id": "77",
        "lib_version": None,
        "current_url": "https://yourstore.com/products/tshirt",
        "properties": {"product_id": "gid://shopify/Product/456"},
        "extra": {},
        "context": CONTEXT,
    }
