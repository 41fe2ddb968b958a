"""gunicorn: what, and why. The Procfile hands it to gunicorn with --config."""

import gc
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from flask import Flask
from gunicorn.glogging import Logger

from app.asgi import Server
from app.protocol import install, listen  # `protocol` itself is a setting of gunicorn's
from config import logs
from config.settings import SettingsError, load_settings

try:
    _settings = load_settings()
except SettingsError as error:
    sys.exit(str(error))

bind = f"0.0.0.0:{_settings.port}"
workers = _settings.web_concurrency

# An event loop, because a request mostly waits for Redis (app/asgi.py); time limits are the
# clients' own, `timeout` is for a worker that no longer answers at all, and a body that stalls.
worker_class = "asgi"
asgi_lifespan = "off"
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
# Heartbeats go to memory: on a slow disk they would block the worker. Where there is none, to the
# one folder that must be writable.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else _settings.spool_dir  # noqa: S108
Path(worker_tmp_dir).mkdir(parents=True, exist_ok=True)

logconfig_dict = logs.config(_settings.log_level, _settings.log_format)


class _Logger(Logger):
    """Without the access log, which Heroku's buildpack switches on: the router has written the
    request down already, and gunicorn puts its line together even where nobody reads it."""

    access_log_enabled = False


logger_class = _Logger
# Should somebody switch the access log on after all: no query string in it.
access_log_format = '%(h)s "%(m)s %(U)s" %(s)s %(b)s %(M)s ms'


def post_worker_init(worker: Any) -> None:
    """Serve the Flask app on the loop; give back what the run before left in the spool."""
    # Nearly all that a request makes is freed without the collector: what stays is not looked at
    # again, and the rest seldom (a tenth of the process's time).
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)
    app: Flask = worker.asgi
    worker.asgi = Server(app)
    install()
    threads = ThreadPoolExecutor(_settings.web_threads, "request")
    worker.loop.set_default_executor(threads)
    worker.listening = worker.loop.create_task(listen(worker))
    app.extensions["drainer"].start()


def worker_exit(server: Any, worker: Any) -> None:
    """The requests are answered: give back what still waits, and close the connections."""
    _ignore_sigterm()
    ours = getattr(worker, "asgi", None)
    if isinstance(ours, Server):  # else it could not be loaded
        ours.app.extensions["drainer"].stop()
        ours.app.extensions["intake"].close()
        ours.app.extensions["reports"].close()


def on_exit(server: Any) -> None:
    _ignore_sigterm()


def _ignore_sigterm() -> None:
    """The handler that finishes what was begun has gone with the loop, or goes with Python: a
    repeated SIGTERM would end the process in the middle."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
