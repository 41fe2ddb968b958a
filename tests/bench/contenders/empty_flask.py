"""The floor: a Flask route that does nothing, on our gunicorn's event loop."""

from flask import Flask, Response

from app.asgi import _encoded, _environ, _path, _read

flask_app = Flask(__name__)


@flask_app.post("/apps/proxy_genlook-x/public/tracking/events")
def receive_events():
    return Response(b'{"success":true}', content_type="application/json")


async def app(scope, receive, send):
    head = {"type": "http.response.start"}

    def start_response(status, headers, _=None):
        head.update(status=int(status[:3]), headers=_encoded(headers))

    environ = _environ(scope, _path(scope), await _read(receive, 2**20))
    body = b"".join(flask_app(environ, start_response))
    await send(head)
    await send({"type": "http.response.body", "body": body})
