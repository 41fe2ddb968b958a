"""gunicorn: what, and why. The Procfile hands it to gunicorn with --config."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

from gunicorn.glogging import Logger

from config import logs
from config.settings import SettingsError, load_settings

try:
    _settings = load_settings()
except SettingsError as error:
    sys.exit(str(error))

bind = f"0.0.0.0:{_settings.port}"
workers = _settings.web_concurrency

# An event loop, because a request mostly waits for Redis. Time limits of connections are its own
# (app/server/server.py); `timeout` is for a worker that no longer answers at all.
worker_class = "app.server.worker.Worker"
timeout = 60  # s

# Heroku sends SIGKILL 30 s after SIGTERM.
graceful_timeout = 20  # s
# Above the 90 s for which Heroku's router keeps an idle connection, or it meets closed ones.
keepalive = 95  # s

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


def on_exit(server: Any) -> None:
    """The handler goes with Python: a repeated SIGTERM would end the process in the middle."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
