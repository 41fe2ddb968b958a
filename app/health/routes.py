"""/healthz, /readyz, /metrics"""

import hmac
from collections.abc import Iterator

import orjson
from flask import Blueprint, Response, current_app, request

from app.health.status import Status
from app.intake.outcomes import EVENTS
from app.replies import Refusal
from app.responses import json_response
from config.settings import Settings

bp = Blueprint("health", __name__)

# The outcomes of events; all other counts are of requests.
_OUTCOMES = ("received", *EVENTS)


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
    is_up = status.postgres == status.redis == "up"
    is_well = is_up and not status.redis_is_full and not status.paused
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
    text = "\n".join(_lines(current_app.extensions["status"]())) + "\n"
    return Response(text, content_type="text/plain; version=0.0.4; charset=utf-8")


def _lines(status: Status) -> Iterator[str]:
    """Source: https://prometheus.io/docs/instrumenting/exposition_formats/"""
    yield "# HELP genlook_events_total Events by outcome."
    yield "# TYPE genlook_events_total counter"
    for outcome in _OUTCOMES:
        yield f'genlook_events_total{{outcome="{outcome}"}} {status.outcomes.get(outcome, 0)}'
    yield "# HELP genlook_incidents_total Refused signatures by cause, spooled events, faults …"
    yield "# TYPE genlook_incidents_total counter"
    for name, number in sorted(status.outcomes.items()):
        if name not in _OUTCOMES:
            yield f'genlook_incidents_total{{kind="{name}"}} {number}'
    yield "# TYPE genlook_up gauge"
    yield f'genlook_up{{server="postgres"}} {int(status.postgres == "up")}'
    yield f'genlook_up{{server="redis"}} {int(status.redis == "up")}'
    yield "# TYPE genlook_redis_full gauge"
    yield f"genlook_redis_full {int(status.redis_is_full)}"
    gauges = {
        "backlog_batches": status.backlog and status.backlog.batches,
        "backlog_oldest_seconds": status.backlog and (status.backlog.oldest_seconds or 0),
        "spool_batches": status.spool.batches,
        "spool_oldest_seconds": status.spool.oldest_seconds or 0,
        "worker_seen_seconds": status.worker_seen_seconds,
    }
    for name, value in gauges.items():
        if value is not None:
            yield f"# TYPE genlook_{name} gauge"
            yield f"genlook_{name} {value}"
    yield "# HELP genlook_journal_paused_seconds Since when a failing journal is skipped."
    yield "# TYPE genlook_journal_paused_seconds gauge"
    for journal, seconds in status.paused.items():
        yield f'genlook_journal_paused_seconds{{journal="{journal}"}} {seconds}'
