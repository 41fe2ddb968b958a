"""GET …/public/tracker.js: what a shop's page loads to send its events, with the shop's experiment
in front. GET …/public/experiment.js: that part alone, for a page that has the tracker from
elsewhere."""

import gzip
import hashlib
import time
from functools import lru_cache
from pathlib import Path

from flask import Blueprint, Flask, Response, current_app, request

import config
from app.replies import Refusal
from app.shopify.app_proxy import verify
from app.tracker.experiment import Parts
from config.settings import Settings

# The theme app extension's own asset, minified from tracker.js beside this file.
MINIFIED = Path(config.__file__).parent / "extensions" / "genlook-tracker" / "assets" / "tracker.js"
SCRIPT = MINIFIED.read_bytes()
_MAX_AGE = 60 * 60  # s; a release reaches every shopper within it

bp = Blueprint("tracker", __name__)


def init_app(app: Flask, settings: Settings) -> None:
    """Needs `app.extensions["database"]`, which gives a connection for a block."""
    app.extensions["experiments"] = Parts()
    app.register_blueprint(bp, url_prefix=settings.app_proxy_path)


@bp.get("/public/tracker.js", provide_automatic_options=False)
def tracker() -> Response:
    return _reply(SCRIPT)


@bp.get("/public/experiment.js", provide_automatic_options=False)
def experiment() -> Response:
    return _reply(b"")


def _reply(rest: bytes) -> Response:
    settings: Settings = current_app.extensions["settings"]
    verdict = verify(
        request.query_string,
        settings.shopify_api_secrets,
        now=time.time(),
        max_age=settings.signature_max_age_seconds,
    )
    if not verdict.valid:
        raise Refusal(401, "INVALID_SIGNATURE", "The request is not signed by Shopify's app proxy.")
    parts: Parts = current_app.extensions["experiments"]
    part = parts.of(verdict.shop, current_app.extensions["database"])
    script = part.script + rest
    reply = Response(script, content_type="text/javascript; charset=utf-8")
    if request.accept_encodings.quality("gzip"):
        reply.data = _compressed(script)
        reply.headers["Content-Encoding"] = "gzip"
    reply.vary.add("Accept-Encoding")
    reply.set_etag(hashlib.sha256(script).hexdigest()[:20], weak=True)  # one for both forms
    if part.is_known:
        reply.headers["Cache-Control"] = f"public, max-age={_MAX_AGE}"
    reply.headers["X-Content-Type-Options"] = "nosniff"
    reply.make_conditional(request)
    return reply


@lru_cache(100)
def _compressed(script: bytes) -> bytes:
    return gzip.compress(script, mtime=0)
