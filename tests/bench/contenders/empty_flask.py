"""The floor: a Flask route that does nothing, under the same gunicorn as ours."""

from flask import Flask, Response

app = Flask(__name__)


@app.post("/apps/proxy_genlook-x/public/tracking/events")
def receive_events():
    return Response(b'{"success":true}', content_type="application/json")
