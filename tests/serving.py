"""The app behind app/server, as under gunicorn: real sockets, in a thread of this process."""

import asyncio
import http.client
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from json import dumps, loads
from urllib.parse import urlencode

import uvloop

from app.server.server import Server


@contextmanager
def serving(app, limits=None, *, send_buffer=None):
    """The server, with its `address`; `send_buffer` in bytes is the kernel's for a connection."""
    loop = uvloop.new_event_loop()
    listening = socket.create_server(("127.0.0.1", 0))
    if send_buffer:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    threads = ThreadPoolExecutor(8)
    loop.set_default_executor(threads)
    server = Server(app, loop, threads, limits)
    server.address = listening.getsockname()

    async def run():
        listener = await loop.create_server(server.connect, sock=listening)
        started.set()
        while not ended.is_set():
            server.tick()
            await asyncio.sleep(0.02)
        listener.close()
        server.stop()
        deadline = loop.time() + 5
        while server.taking and loop.time() < deadline:
            await asyncio.sleep(0.002)
        server.abort()
        app.extensions["intake"].close()
        while server.connections and loop.time() < deadline:
            await asyncio.sleep(0.002)
        await asyncio.sleep(0.002)  # what was closed is let go of

    started, ended = threading.Event(), threading.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(run()), daemon=True)
    thread.start()
    started.wait()
    try:
        yield server
    finally:
        ended.set()
        thread.join(10)
        threads.shutdown()
        loop.close()


class Reply:
    """As Flask's test client has it."""

    def __init__(self, response):
        self.status_code, self.headers, self.data = (
            response.status,
            response.headers,
            response.read(),
        )

    @property
    def json(self):
        return loads(self.data)

    def get_json(self):
        return self.json

    @property
    def text(self):
        return self.data.decode()

    @property
    def content_type(self):
        return self.headers["Content-Type"]

    @property
    def mimetype(self):
        return self.headers.get_content_type()

    @property
    def location(self):
        return self.headers["Location"]


class Client:
    """A caller over one connection a thread, which is kept; opened again where it was closed."""

    def __init__(self, server, app):
        self._address, self.application = server.address, app
        self._local, self._connections = threading.local(), []

    def open(self, path, *, method="GET", data=b"", json=None, query_string="", headers=()):
        if json is not None:
            data = dumps(json)
        if not isinstance(query_string, str | bytes):
            query_string = urlencode(query_string)
        if isinstance(query_string, bytes):
            query_string = query_string.decode("latin-1")
        target = f"{path}?{query_string}" if query_string else path
        body = data.encode() if isinstance(data, str) else data
        connection = self._connection()
        connection.request(method, target, body or None, dict(headers))
        return Reply(connection.getresponse())

    def post(self, path, **options):
        return self.open(path, method="POST", **options)

    def get(self, path, **options):
        return self.open(path, **options)

    def put(self, path, **options):
        return self.open(path, method="PUT", **options)

    def close(self):
        for connection in self._connections:
            connection.close()

    def _connection(self):
        if not hasattr(self._local, "connection"):
            self._local.connection = http.client.HTTPConnection(*self._address, timeout=30)
            self._connections.append(self._local.connection)
        return self._local.connection
