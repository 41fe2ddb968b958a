"""gunicorn: what, and why. Read by `gunicorn --config config/gunicorn.py 'app:create_app()'`."""

import sys
from pathlib import Path
from socket import socket
from typing import Any

from gunicorn import util
from gunicorn.workers.base import Worker

from app import logs
from app.replies import envelope
from config.settings import SettingsError, load_settings

try:
    _settings = load_settings()
except SettingsError as error:
    sys.exit(str(error))

bind = f"0.0.0.0:{_settings.port}"
workers = _settings.web_concurrency

# Threads, because a request mostly waits for Redis; time limits are the clients' own, `timeout`
# only tells a worker that no longer answers at all.
worker_class = "gthread"
threads = _settings.web_threads
timeout = 60  # s

# Heroku sends SIGKILL 30 s after SIGTERM.
graceful_timeout = 20  # s
# Above the 90 s for which Heroku's router keeps an idle connection, or it meets closed ones.
keepalive = 95  # s

# Shopify's signed query may grow by what the shop's page adds; the largest that gunicorn allows.
limit_request_line = 8190  # bytes

# Heroku's buildpack trusts every peer (FORWARDED_ALLOW_IPS=*), so anybody could send these; the app
# uses none of them, and gunicorn answers contradictions among them with errors, even 500.
forwarder_headers = ""
secure_scheme_headers: dict[str, str] = {}

# Since 25.1 gunicorn opens a control socket in the home directory, which a dyno does not need.
control_socket_disable = True
# Heartbeats go to memory: on a slow disk they would block the worker.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108

logconfig_dict = logs.config(_settings.log_level)
# Should somebody switch the access log on after all: no query string in it.
access_log_format = '%(h)s "%(m)s %(U)s" %(s)s %(b)s %(M)s ms'


def post_worker_init(worker: Worker) -> None:
    """What the run before this one left in the spool is given back from the start on."""
    app: Any = worker.wsgi
    app.extensions["drainer"].start()


def worker_exit(server: Any, worker: Worker) -> None:
    """The requests are answered: give back what still waits, and close the connections."""
    app: Any = getattr(worker, "wsgi", None)  # none where it could not be loaded
    if app:
        app.extensions["drainer"].stop()
        app.extensions["intake"].close()
        app.extensions["reports"].close()


def _write_error(sock: socket, status_int: int, reason: str, mesg: str) -> None:
    """gunicorn answers what it cannot read with an HTML page, sometimes with 501; ours is JSON."""
    if status_int == 501:
        status_int, reason = 400, "Bad Request"
    body = envelope(reason.upper().replace(" ", "_"), "The request is not valid HTTP.")
    head = (
        f"HTTP/1.1 {status_int} {reason}\r\nConnection: close\r\nContent-Type: application/json\r\n"
        f"Cache-Control: private, no-store\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    util.write_nonblock(sock, head.encode() + body)


util.write_error = _write_error
