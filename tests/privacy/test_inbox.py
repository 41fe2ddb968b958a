"""What becomes of a delivery, and of whom it is."""

from datetime import UTC, datetime

import pytest

from app.privacy import requests
from app.shopify.webhooks import Delivery
from app.store import shops
from app.webhooks.inbox import take
from tests.calls import SHOP

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
KEY = b"k" * 16


def delivered(database, topic, payload=None, *, id_="1", shop=SHOP):
    return take(database, Delivery(id_, topic, shop, payload or {}), NOW, KEY)


def test_each_topic_of_privacy_is_a_request_of_its_kind(database):
    for number, topic in enumerate(("shop/redact", "customers/redact", "customers/data_request")):
        assert delivered(database, topic, id_=str(number)) == "taken"
    found = sorted((one.kind, one.source, one.requested_at) for one in requests.find(database))
    assert found == [
        ("erase_customer", "customers/redact", NOW),
        ("erase_shop", "shop/redact", NOW),
        ("export_customer", "customers/data_request", NOW),
    ]


def test_a_delivery_that_comes_again_is_taken_once(database):
    assert [delivered(database, "shop/redact") for _ in range(3)] == [
        "taken", "repeated", "repeated"
    ]  # fmt: skip
    assert len(requests.find(database)) == 1


def test_an_uninstalling_is_noted_and_is_no_request(database):
    assert delivered(database, "app/uninstalled") == "taken"
    assert shops.uninstalled_at(database, SHOP) == NOW
    assert requests.find(database) == []


def test_what_names_no_shop_or_is_of_another_topic_is_not_kept(database):
    assert delivered(database, "shop/redact", shop=None) == "no_shop"
    assert delivered(database, "orders/create") == "unknown"
    assert database.execute("SELECT count(*) FROM webhook_deliveries").fetchone() == (0,)


@pytest.mark.parametrize(
    ("customer", "id_", "has_mail"),
    [
        ({"id": 7, "email": "Ann@example.com"}, "7", True),
        ({"id": "7", "email": None}, "7", False),
        ({"id": 0, "email": ""}, None, False),
        ({"id": None, "email": "ann@example.com"}, None, True),
        ({"id": [7], "email": ["ann@example.com"]}, None, False),
        ({}, None, False),
        ("Ann", None, False),
        (None, None, False),
    ],
)
def test_a_shopper_is_who_the_payload_names(database, customer, id_, has_mail):
    delivered(database, "customers/redact", {"customer": customer})
    [request] = requests.find(database)
    assert request.who.customer_id == id_
    assert len(request.who.emails) == (2 if has_mail else 0)  # plain and hashed
    assert not has_mail or "ann@example.com" in request.who.emails
