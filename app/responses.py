"""Replies as Flask's responses, and what every response of Flask has in common."""

from flask import Flask, Response, current_app, request
from werkzeug.exceptions import HTTPException

from app.replies import HEADERS, Refusal, Reply, envelope, refusal_reply
from config.settings import Settings


def response_of(reply: Reply) -> Response:
    response = json_response(reply.body, reply.status)
    response.headers.extend(reply.headers)
    return response


def json_response(body: bytes, status: int = 200) -> Response:
    return Response(body, status, content_type="application/json")


def init_app(app: Flask) -> None:
    """Errors of every route as JSON; no reply in any cache, none that runs or frames anything, but
    those that say so themselves."""
    app.register_error_handler(Refusal, lambda refusal: response_of(refusal_reply(refusal)))
    app.register_error_handler(HTTPException, _http_error_reply)
    app.after_request(_add_headers)


def _http_error_reply(error: HTTPException) -> Response:
    status = error.code or 500
    code = {500: "INTERNAL_ERROR"}.get(status, error.name.upper().replace(" ", "_"))
    reply = json_response(envelope(code, error.description or error.name), status)
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
