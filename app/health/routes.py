"""/healthz, /readyz, /metrics"""

import hmac

import orjson
from flask import Blueprint, Response, current_app, request

from app.health.status import Status
from app.replies import Refusal
from app.responses import json_response
from config.settings import Settings

bp = Blueprint("health", __name__)


@bp.get("/healthz", provide_automatic_options=False)
def healthz() -> Response:
    """The process can answer; touches nothing."""
    return json_response(b'{"status":"ok"}')


@bp.get("/readyz", provide_automatic_options=False)
def readyz() -> Response:
    """The state of all that is needed; 503 only where no batch could be taken."""
    settings: Settings = current_app.extensions["settings"]
    status: Status = current_app.extensions["status"]()
    can_take = status.can_take(settings.intake)
    may_lose = settings.intake == "stream" and status.redis_risk
    is_up = status.postgres == status.redis == "up"
    is_well = is_up and not (status.paused or status.redis_is_full or may_lose)
    word = "unavailable" if not can_take else "ok" if is_well else "degraded"
    body = {"status": word, **status.as_dict()}
    # Causes and names of hosts are for the operator: the log and `flask status` have them.
    for server in ("postgres", "redis"):
        body[server] = "up" if body[server] == "up" else "down"
    del body["outcomes"], body["consumers"]
    return json_response(orjson.dumps(body), 200 if can_take else 503)


@bp.get("/metrics", provide_automatic_options=False)
def metrics() -> Response:
    """Prometheus's text format, for a caller with the token as `Authorization: Bearer …`."""
    token = current_app.extensions["settings"].metrics_token
    if not token:
        raise Refusal(404, "NOT_FOUND", "Metrics are off: METRICS_TOKEN is not set.")
    shown = request.headers.get("Authorization", "").removeprefix("Bearer ")
    if not hmac.compare_digest(shown.encode(), token.encode()):
        raise Refusal(401, "UNAUTHORIZED", "Send METRICS_TOKEN as Authorization: Bearer.")
    text = current_app.extensions["metrics"]()
    return Response(text, content_type="text/plain; version=0.0.4; charset=utf-8")
