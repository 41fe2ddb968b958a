"""POST /webhooks"""

import logging
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import psycopg
from flask import Blueprint, Response, current_app, request
from psycopg_pool import PoolTimeout, TooManyRequests

from app.batch.json import MalformedJson, parse_json
from app.replies import SUCCESS, Refusal
from app.responses import json_response
from app.shopify.webhooks import is_claimed, is_signed, read
from app.webhooks.inbox import take
from config.causes import cause
from config.settings import Settings

logger = logging.getLogger(__name__)

_LIMIT = 2 * 1024 * 1024  # bytes; a redaction may list many orders

_CONNECTION_TIMEOUT = 3.0  # s; no shopper waits, and Shopify gives up after 5

bp = Blueprint("webhooks", __name__)


@bp.post("/webhooks", provide_automatic_options=False)
def receive_webhook() -> Response:
    """Written into Postgres and no more: the worker does the rest. Where Postgres is away, Shopify
    delivers again later."""
    settings: Settings = current_app.extensions["settings"]
    headers = {name.lower(): value for name, value in request.headers}
    if not is_claimed(headers):  # without reading the body
        raise _refused()
    request.max_content_length = _LIMIT
    try:
        raw = request.get_data(cache=False)
    except OSError as error:
        raise Refusal(400, "BAD_REQUEST", "The body is incomplete.") from error
    if not is_signed(raw, headers, settings.shopify_api_secrets):
        raise _refused()
    payload: Any = None
    with suppress(MalformedJson):
        payload = parse_json(raw)
    delivery = read(raw, payload, headers)
    try:
        with current_app.extensions["database"](_CONNECTION_TIMEOUT) as connection:
            taken = take(connection, delivery, datetime.now(UTC), settings.email_hash_key)
    except (psycopg.Error, PoolTimeout, TooManyRequests) as error:
        logger.warning(
            "webhook not stored; Shopify will redeliver it",
            extra={"action": "webhook_postponed", "cause": cause(error)},
        )
        raise Refusal(503, "UNAVAILABLE", "Temporarily unavailable; please redeliver.") from error
    logger.info(
        "webhook",
        extra={
            "action": "webhook",
            "topic": delivery.topic,
            "shop": delivery.shop,
            "became": taken,
        },
    )
    return json_response(SUCCESS)


def _refused() -> Refusal:
    current_app.extensions["intake"].outcomes.count({"webhook:bad_signature": 1})
    logger.info("webhook refused", extra={"action": "invalid_webhook"})
    return Refusal(401, "INVALID_SIGNATURE", "The webhook is not signed by Shopify.")
