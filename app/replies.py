"""Every reply's form, made in one place."""

from dataclasses import dataclass
from typing import Any

import orjson
from flask import Flask, Response, current_app, request
from werkzeug.exceptions import HTTPException

from config.settings import Settings

Detail = dict[str, str]  # {"path": "events.0.timestamp", "message": "..."}

SUCCESS = b'{"success":true}'

# On every reply that does not say otherwise.
HEADERS = {
    "Cache-Control": "private, no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Refusal(Exception):
    """A reply other than success, raised where its cause is found."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        details: list[Detail] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.details = status, code, message, details


@dataclass(frozen=True, slots=True)
class Reply:
    """JSON, before it is anybody's response."""

    body: bytes
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()

    def response(self) -> Response:
        response = json_reply(self.body, self.status)
        response.headers.extend(self.headers)
        return response


def json_reply(body: bytes, status: int = 200) -> Response:
    return Response(body, status, content_type="application/json")


def envelope(code: str, message: str, details: list[Detail] | None = None) -> bytes:
    """The body of every reply that is not a success."""
    body: dict[str, Any] = {"success": False, "code": code, "message": message}
    if details is not None:
        body["details"] = details
    return orjson.dumps(body)


def refusal_reply(refusal: Refusal) -> Reply:
    return Reply(envelope(refusal.code, refusal.message, refusal.details), refusal.status)


def init_app(app: Flask) -> None:
    """Errors of every route as JSON; no reply in any cache, none that runs or frames anything, but
    those that say so themselves."""
    app.register_error_handler(Refusal, lambda refusal: refusal_reply(refusal).response())
    app.register_error_handler(HTTPException, _http_error_reply)
    app.after_request(_add_headers)


def _http_error_reply(error: HTTPException) -> Response:
    status = error.code or 500
    code = {500: "INTERNAL_ERROR"}.get(status, error.name.upper().replace(" ", "_"))
    reply = json_reply(envelope(code, error.description or error.name), status)
    for name, value in error.get_headers():
        if name == "Allow":
            reply.headers[name] = value
    return reply


def _add_headers(reply: Response) -> Response:
    for name, value in HEADERS.items():
        reply.headers.setdefault(name, value)
    settings: Settings = current_app.extensions["settings"]
    # Through the app proxy this would be said in the name of the merchant's own domain.
    if not request.path.startswith(settings.app_proxy_path):
        reply.headers["Strict-Transport-Security"] = "max-age=31536000"
    return reply
