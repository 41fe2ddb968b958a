"""What each topic asks for. All of it is one short transaction, by which a delivery that comes
twice counts once; what takes longer waits in privacy_requests for the worker."""

from datetime import datetime
from typing import Any

from psycopg import Connection

from app.privacy import requests
from app.privacy.subject import Subject
from app.shopify.webhooks import Delivery
from app.store.shops import mark_uninstalled

_UNINSTALLED = "app/uninstalled"
_REQUESTS = {
    "shop/redact": requests.ERASE_SHOP,
    "customers/redact": requests.ERASE_CUSTOMER,
    "customers/data_request": requests.EXPORT_CUSTOMER,
}


def take(connection: Connection, delivery: Delivery, now: datetime, hash_key: bytes) -> str:
    """Returns what became of it: taken, repeated, unknown (topic), or no_shop."""
    kind = _REQUESTS.get(delivery.topic)
    if kind is None and delivery.topic != _UNINSTALLED:
        return "unknown"
    if delivery.shop is None:
        return "no_shop"
    with connection.transaction():
        is_new = connection.execute(
            "INSERT INTO webhook_deliveries (id, topic, shop_domain, received_at)"
            " VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
            [delivery.id, delivery.topic, delivery.shop, now],
        ).rowcount
        if is_new and kind is None:
            mark_uninstalled(connection, delivery.shop, now)
        elif is_new and kind:
            requests.add(
                connection,
                kind,
                delivery.shop,
                _customer(delivery.payload, hash_key),
                source=delivery.topic,
                requested_at=now,
            )
    return "taken" if is_new else "repeated"


def delete_expired(connection: Connection) -> int:
    """Shopify repeats a delivery for hours, at most for days."""
    return connection.execute(
        "DELETE FROM webhook_deliveries WHERE received_at < now() - interval '30 days'"
    ).rowcount


def _customer(payload: dict[str, Any], hash_key: bytes) -> Subject:
    customer = payload.get("customer")
    fields = customer if isinstance(customer, dict) else {}
    id_, email = fields.get("id"), fields.get("email")
    return Subject.build(
        customer_id=str(id_) if isinstance(id_, int | str) and id_ else None,
        emails=[email] if isinstance(email, str) else [],
        hash_key=hash_key,
    )
