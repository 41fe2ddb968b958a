"""The endpoint as a Flask route, for any WSGI server. Under our own worker its POSTs are answered
without Flask's dispatch (app/server)."""

import logging

from flask import Blueprint, Response, current_app, request
from werkzeug.exceptions import HTTPException

from app.intake.waiting import run
from app.responses import response_of
from app.tracking.body import WIRE_LIMIT
from app.tracking.endpoint import Endpoint

logger = logging.getLogger(__name__)

_ANY = 2**63  # bytes

bp = Blueprint("tracking", __name__)


@bp.post("/public/tracking/events", provide_automatic_options=False)
def receive_events() -> Response:
    endpoint: Endpoint = current_app.extensions["endpoint"]
    encoding = request.headers.get("Content-Encoding", "")
    return response_of(run(endpoint.answer(request.query_string, encoding, _read_body())))


def _read_body() -> bytes:
    """The body as sent, or a little more of it than is allowed."""
    request.max_content_length = _ANY  # what is too large is refused with a reason of our own
    try:
        raw: bytes = request.stream.read(WIRE_LIMIT + 1)
    except (OSError, HTTPException) as error:
        # The caller went away: a body cut short, not a fault of ours.
        logger.info(
            "body not received", extra={"action": "body_lost", "cause": type(error).__name__}
        )
        return b""
    return raw
