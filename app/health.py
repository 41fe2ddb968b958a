"""Whether the process is alive."""

from flask import Blueprint, Flask, Response

from app.replies import json_reply

bp = Blueprint("health", __name__)


def init_app(app: Flask) -> None:
    app.register_blueprint(bp)


@bp.get("/healthz", provide_automatic_options=False)
def healthz() -> Response:
    """The process can answer; touches nothing."""
    return json_reply(b'{"status":"ok"}')
