"""POST …/public/tracking/events, from a request to its reply, whichever way it was received."""

import logging
import time
from datetime import UTC, datetime

import orjson

from app.intake.intake import Intake, NotStored
from app.intake.limits import RateLimited
from app.intake.submission import Submission
from app.replies import SUCCESS, Reply, envelope, refusal_reply
from app.shopify.app_proxy import Verdict, verify
from app.tracking.minimize import minimize
from app.tracking.validation import VALIDATION_FAILED, Validated, event_details, validate
from config.causes import cause
from config.settings import Settings

logger = logging.getLogger(__name__)


class Endpoint:
    def __init__(self, settings: Settings, intake: Intake) -> None:
        self._settings = settings
        self._intake = intake

    async def answer(self, query: bytes, content_encoding: str, body: bytes) -> Reply:
        """The raw query string, the header, the body as sent. Never raises."""
        admitted = self.admit(query)
        if isinstance(admitted, Reply):
            return admitted
        return await self.take(admitted, content_encoding, body)

    def admit(self, query: bytes) -> Verdict | Reply:
        """A verdict for `take`, or at once the reply of a request whose signature is refused: its
        body need not be read."""
        verdict = verify(
            query,
            self._settings.shopify_api_secrets,
            now=time.time(),
            max_age=self._settings.signature_max_age_seconds,
        )
        return verdict if verdict.valid else self._refuse(verdict)

    async def take(self, verdict: Verdict, content_encoding: str, body: bytes) -> Reply:
        """The reply to a signed request; of a body beyond WIRE_LIMIT, a byte too much will do.
        Never raises."""
        # The one guard: after a valid signature no fault of ours reaches the shopper.
        try:
            return await self._take_batch(verdict, content_encoding, body)
        except RateLimited as limited:
            message = "Rate limit exceeded. Retry after the time given in Retry-After."
            retry_after = ("Retry-After", str(limited.retry_after))
            return Reply(envelope("RATE_LIMIT_EXCEEDED", message), 429, (retry_after,))
        except NotStored:
            reason = "no journal could take it"
        except Exception as error:
            reason = cause(error)
            logger.exception("tracking failed", extra={"action": "fault", "shop": verdict.shop})
            self._intake.outcomes.count({"fault": 1})
        logger.error(
            "a batch was not stored",
            extra={"action": "not_stored", "shop": verdict.shop, "cause": reason},
        )
        message = "The events could not be stored. Retry with the same $insert_id values."
        return Reply(envelope("NOT_STORED", message))

    async def hand_over(self, submission: Submission) -> None:
        """Returns when a journal has it. NotStored, RateLimited."""
        await self._intake.append(submission)

    def _refuse(self, verdict: Verdict) -> Reply:
        self._intake.outcomes.count({f"signature:{verdict.cause}": 1})
        logger.info(
            "signature refused", extra={"action": "invalid_signature", "cause": verdict.cause}
        )
        message = "The request is not signed by Shopify's app proxy."
        return Reply(envelope("INVALID_SIGNATURE", message), 401)

    async def _take_batch(self, verdict: Verdict, content_encoding: str, body: bytes) -> Reply:
        received_at = datetime.now(UTC)
        validated = validate(body, content_encoding)
        minimize(validated, self._settings)
        submission = Submission.build(
            shop=verdict.shop,
            customer_id=verdict.customer_id,
            received_at=received_at,
            context=validated.context,
            events=validated.events,
            rejected=validated.rejected,
            size=validated.size,
        )
        try:
            await self.hand_over(submission)
        except NotStored:
            if not validated.refusal:
                raise
        if validated.refusal:
            return refusal_reply(validated.refusal)
        return Reply(_partial(validated)) if validated.invalid else _SUCCESS


_SUCCESS = Reply(SUCCESS)


def _partial(validated: Validated) -> bytes:
    return orjson.dumps(
        {
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
    )
