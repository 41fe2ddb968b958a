"""POST …/public/tracking/events: the way of a batch through the web process."""

import logging
import time
from datetime import UTC, datetime

import orjson
from flask import Blueprint, Response, current_app, request
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import HTTPException

from app.intake.batch import Batch
from app.intake.intake import Intake, NotStored
from app.intake.limits import RateLimited
from app.replies import SUCCESS, envelope, json_reply, refusal_reply
from app.shopify.app_proxy import Verdict, verify
from app.tracking.body import WIRE_LIMIT
from app.tracking.minimize import minimize
from app.tracking.validation import VALIDATION_FAILED, Validated, event_details, validate
from config.settings import Settings

logger = logging.getLogger(__name__)

_DRAIN = 4 * 1024 * 1024  # bytes

bp = Blueprint("tracking", __name__)


@bp.post("/public/tracking/events", provide_automatic_options=False)
def receive_events() -> Response:
    settings: Settings = current_app.extensions["settings"]
    intake: Intake = current_app.extensions["intake"]

    verdict = verify(
        request.query_string,
        settings.shopify_api_secrets,
        now=time.time(),
        max_age=settings.signature_max_age_seconds,
    )
    if not verdict.valid:
        intake.outcomes.count({f"signature:{verdict.cause}": 1})
        logger.info(
            "signature refused", extra={"action": "invalid_signature", "cause": verdict.cause}
        )
        return json_reply(
            envelope("INVALID_SIGNATURE", "The request is not signed by Shopify's app proxy."), 401
        )

    # The one guard: after a valid signature no fault of ours reaches the shopper.
    try:
        return _take_batch(verdict, intake)
    except RateLimited as limited:
        reply = json_reply(
            envelope("RATE_LIMIT_EXCEEDED", "Too many events in this minute, send them later."), 429
        )
        reply.headers["Retry-After"] = str(limited.retry_after)
        return reply
    except NotStored:
        cause = "no journal could take it"
    except Exception as error:
        cause = f"{type(error).__name__}: {error}"
        logger.exception("tracking failed", extra={"action": "fault", "shop": verdict.shop})
        intake.outcomes.count({"fault": 1})
    logger.error(
        "a batch was not stored",
        extra={"action": "not_stored", "shop": verdict.shop, "cause": cause},
    )
    return json_reply(
        envelope("NOT_STORED", "The events could not be stored, send them again with their ids.")
    )


def _take_batch(verdict: Verdict, intake: Intake) -> Response:
    received_at = datetime.now(UTC)
    raw = _read_body()
    validated = validate(raw, request.headers.get("Content-Encoding", ""))
    minimize(validated, current_app.extensions["settings"])
    batch = Batch.build(
        shop=verdict.shop,
        customer_id=verdict.customer_id,
        received_at=received_at,
        context=validated.context,
        events=validated.events,
        rejected=validated.rejected,
    )
    try:
        intake.append(batch)
    except NotStored:
        if not validated.refusal:
            raise
    if validated.refusal:
        return refusal_reply(validated.refusal)
    return _partial_reply(validated) if validated.invalid else json_reply(SUCCESS)


def _read_body() -> bytes:
    """The body as sent, or a little more of it than is allowed."""
    try:
        raw: bytes = request.stream.read(WIRE_LIMIT + 1)
        if len(raw) > WIRE_LIMIT:
            # Who still sends does not listen: take some of the rest, so that the reply is heard.
            request.stream.read(_DRAIN)
    except (OSError, HTTPException, ParseException) as error:
        # The caller went away, or its chunks are not HTTP: a body cut short, not a fault of ours.
        logger.info(
            "body not received", extra={"action": "body_lost", "cause": type(error).__name__}
        )
        return b""
    return raw


def _partial_reply(validated: Validated) -> Response:
    body = {
        "success": True,
        "accepted": len(validated.events),
        "rejected": [
            {
                "index": event.index,
                "insert_id": event.insert_id,
                "code": VALIDATION_FAILED,
                "details": event_details(event),
            }
            for event in validated.invalid
        ],
    }
    return json_reply(orjson.dumps(body))
