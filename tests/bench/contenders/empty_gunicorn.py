"""Our gunicorn, without the hooks that need our app."""

from config.gunicorn import *  # noqa: F403

del post_worker_init, worker_exit  # noqa: F821
