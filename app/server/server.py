"""What all connections of a process share."""

import asyncio
from concurrent.futures import Executor
from typing import NamedTuple

from flask import Flask

from app.metrics.histograms import Histograms
from app.server import rendering
from app.server.connection import Connection
from app.server.flask_on_threads import FlaskOnThreads
from app.tracking import ENDPOINT
from app.tracking.endpoint import Endpoint

TICK = 1.0  # s between two calls of `tick`


class TimeLimits(NamedTuple):
    """Seconds."""

    head: float = 20.0  # from a connection's beginning, or from a head's first byte, to its end
    body: float = 25.0  # for the whole of it; Heroku's router gives up at 30
    idle: float = 95.0  # between requests; above the 90 s for which Heroku's router keeps one
    taking: float = 60.0  # without the caller taking anything of a reply
    lingering: float = 5.0  # for what the caller still sends after a reply that did not wait for it


class Server:
    """`tick` is called once a second by the one who runs it."""

    def __init__(
        self,
        app: Flask,
        loop: asyncio.AbstractEventLoop,
        threads: Executor,
        limits: TimeLimits | None = None,
    ) -> None:
        self.loop = loop
        self.limits = limits or TimeLimits()
        self.endpoint: Endpoint = app.extensions["endpoint"]
        rules = {rule.rule for rule in app.url_map.iter_rules(ENDPOINT)}
        self.endpoint_paths = frozenset(rule + slash for rule in rules for slash in ("", "/"))
        self.flask = FlaskOnThreads(app, loop, threads)
        self.connections: set[Connection] = set()
        self.requests: Histograms = app.extensions["requests"]
        app.extensions["reporter"].count_connections = lambda: len(self.connections)
        self.taking = 0  # batches on their way into a journal, also of callers who have gone
        self.is_stopping = False
        self.answered = 0  # requests
        self.date = rendering.date()

    def connect(self) -> Connection:
        """A connection's protocol, for `create_server`."""
        return Connection(self)

    def tick(self) -> None:
        """Close what is over its time."""
        self.date = rendering.date()
        now = self.loop.time()
        for connection in [one for one in self.connections if one.deadline < now]:
            connection.expire()

    def stop(self) -> None:
        """Idle connections are closed now, those in the middle of a request after its reply."""
        self.is_stopping = True
        for connection in list(self.connections):
            connection.stop()

    @property
    def is_busy(self) -> bool:
        return bool(self.connections or self.taking)

    def abort(self) -> None:
        for connection in list(self.connections):
            connection.abort()
