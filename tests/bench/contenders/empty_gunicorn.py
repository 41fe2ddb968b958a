"""Our gunicorn's settings, with the event loop that it brings along."""

from config.gunicorn import *  # noqa: F403

worker_class = "asgi"
asgi_lifespan = "off"
