"""GET …/public/tracker.js: what a shop's page loads to send its events."""

import gzip
import hashlib
import time
from pathlib import Path

from flask import Blueprint, Flask, Response, current_app, request

import config
from app.replies import Refusal
from app.shopify.app_proxy import verify
from config.settings import Settings

# The theme app extension's own asset, minified from tracker.js beside this file.
MINIFIED = Path(config.__file__).parent / "extensions" / "genlook-tracker" / "assets" / "tracker.js"
SCRIPT = MINIFIED.read_bytes()
_COMPRESSED = gzip.compress(SCRIPT, mtime=0)
_ETAG = hashlib.sha256(SCRIPT).hexdigest()[:20]
_MAX_AGE = 60 * 60  # s; a release reaches every shopper within it

bp = Blueprint("tracker", __name__)


def init_app(app: Flask, settings: Settings) -> None:
    app.register_blueprint(bp, url_prefix=settings.app_proxy_path)


@bp.get("/public/tracker.js", provide_automatic_options=False)
def tracker() -> Response:
    settings: Settings = current_app.extensions["settings"]
    verdict = verify(
        request.query_string,
        settings.shopify_api_secrets,
        now=time.time(),
        max_age=settings.signature_max_age_seconds,
    )
    if not verdict.valid:
        raise Refusal(401, "INVALID_SIGNATURE", "The request is not signed by Shopify's app proxy.")
    reply = Response(SCRIPT, content_type="text/javascript; charset=utf-8")
    if request.accept_encodings.quality("gzip"):
        reply.data = _COMPRESSED
        reply.headers["Content-Encoding"] = "gzip"
    reply.vary.add("Accept-Encoding")
    reply.set_etag(_ETAG, weak=True)  # one for both forms
    reply.headers["Cache-Control"] = f"public, max-age={_MAX_AGE}"
    reply.headers["X-Content-Type-Options"] = "nosniff"
    reply.make_conditional(request)
    return reply
