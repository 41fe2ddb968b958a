"""Whose page it is: the session token decides, and nothing else in the request."""

import logging
import re
import time
from urllib.parse import urlencode

from flask import Response, current_app, g, redirect, render_template, request

from app.merchant.language import choose
from app.replies import Refusal, envelope
from app.responses import json_response
from app.shopify.domain import is_shop
from app.shopify.session_token import Token, verify_token
from config.settings import Settings

logger = logging.getLogger(__name__)

ADMIN = "https://admin.shopify.com"
PAGE = "/app"
BOUNCE = "/app/session-token"
RETRY = "X-Shopify-Retry-Invalid-Session-Request"


def authenticate() -> Response | None:
    """Before each request: put the merchant's language into `g.language`, and the shop into
    `g.shop`, or reply with what brings a good token."""
    g.shop = ""
    accepted = [tag for tag, _ in request.accept_languages]
    g.language = choose(request.args.get("locale", ""), accepted)
    if request.path.rstrip("/") == BOUNCE:
        return None
    sent = request.authorization
    shown = (sent.token or "") if sent and sent.type == "bearer" else ""
    is_first_load = not shown and request.path.rstrip("/") == PAGE
    if is_first_load:
        shown = request.args.get("id_token", "")
    settings: Settings = current_app.extensions["settings"]
    token = (
        verify_token(shown, settings.shopify_api_key, settings.shopify_api_secrets, now=time.time())
        if shown
        else Token("missing")
    )
    if token.valid:
        g.shop = token.shop
        return None
    logger.info("session refused", extra={"action": "invalid_session", "cause": token.cause})
    if is_first_load and token.cause in ("missing", "stale") and (token.shop or _claimed_shop()):
        return _bounce(token.shop or _claimed_shop())
    message = g.language.gettext("Open the app again from the Shopify admin.")
    refusal = json_response(envelope("INVALID_SESSION", message), 401)
    refusal.headers[RETRY] = "1"
    return refusal


def protect(reply: Response) -> Response:
    """After each request: say who may frame a reply with HTML, and show a fault as a page where
    the browser shows it in place of the page."""
    path = request.path.rstrip("/")
    is_shown = path in (PAGE, BOUNCE) and "text/html" in request.headers.get("Accept", "")
    if is_shown and reply.status_code >= 400:
        message = reply.get_json()["message"]
        reply.set_data(render_template("refused.html", message=message, language=g.language))
        reply.mimetype = "text/html"
    if reply.mimetype == "text/html":
        shop = g.get("shop") or (_claimed_shop() if path in (PAGE, BOUNCE) else "")
        framed_by = f"https://{shop} {ADMIN}" if shop else "'none'"
        reply.headers["Content-Security-Policy"] = (
            f"frame-ancestors {framed_by}; base-uri 'none'; object-src 'none'; form-action 'self'"
        )
    reply.headers["Referrer-Policy"] = "no-referrer"  # the first address holds a token
    reply.headers["X-Content-Type-Options"] = "nosniff"
    return reply


def page_address() -> str:
    """This request's address without its token, for App Bridge to come back to."""
    kept = [(key, value) for key, value in request.args.items(multi=True) if key != "id_token"]
    return f"{PAGE}?{urlencode(kept)}"


def _bounce(shop: str) -> Response:
    """Redirect to a page that runs App Bridge alone, which fetches a token and goes on to
    `shopify-reload`.

    Source: https://shopify.dev/docs/apps/build/authentication-authorization/set-embedded-app-authorization
    """
    g.shop = shop  # for `protect`: its admin may frame the reply
    query = {
        "shop": shop,
        "host": request.args.get("host", ""),
        "embedded": "1",
        "locale": g.language.tag,
        "shopify-reload": page_address(),
    }
    reply: Response = redirect(f"{BOUNCE}?{urlencode(query)}", Response=Response)  # type: ignore[assignment]
    return reply


def _claimed_shop() -> str:
    """What the address says. It may only choose whose admin may frame a page without data."""
    claimed = request.args.get("shop", "")
    return claimed if is_shop(claimed) else ""


def own_address(value: str) -> str:
    """`value` where it leads back to the page. Refusal."""
    if not re.fullmatch(rf"{PAGE}(\?[^\\\s]*)?", value):
        raise Refusal(400, "VALIDATION_FAILED", "shopify-reload must be the address of this page.")
    return value
