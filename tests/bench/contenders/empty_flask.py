"""The floor: a Flask route that does nothing, called on gunicorn's event loop."""

from io import BytesIO

from flask import Flask, Response

flask_app = Flask(__name__)


@flask_app.post("/apps/proxy_genlook-x/public/tracking/events")
def receive_events():
    return Response(b'{"success":true}', content_type="application/json")


async def app(scope, receive, send):
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    head = {"type": "http.response.start"}

    def start_response(status, headers, _=None):
        encoded = [(name.encode(), value.encode()) for name, value in headers]
        head.update(status=int(status[:3]), headers=encoded)

    reply = b"".join(flask_app(_environ(scope, body), start_response))
    await send(head)
    await send({"type": "http.response.body", "body": reply})


def _environ(scope, body):
    environ = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": scope["path"],
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": scope["server"][0],
        "SERVER_PORT": str(scope["server"][1]),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": BytesIO(body),
        "wsgi.input_terminated": True,
    }
    for name, value in scope["headers"]:
        key = name.decode("latin-1").upper().replace("-", "_")
        prefix = "" if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else "HTTP_"
        environ[prefix + key] = value.decode("latin-1")
    return environ
