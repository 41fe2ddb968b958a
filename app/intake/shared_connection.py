"""One connection to Redis for all requests of an event loop.

While Redis works on what was sent, what comes in waits and goes out together: a round trip, and the
system calls on both sides, are shared by as many requests as there are. Each reply finds its caller
by the order of the calls.

Why not redis.asyncio: a call through it takes 12 times as much processor time.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import hiredis
from redis import Redis, SSLConnection, exceptions

from app.intake.trust import Info, read

_ERRORS = {
    "NOPERM": exceptions.NoPermissionError,
    "NOSCRIPT": exceptions.NoScriptError,
    "OOM": exceptions.OutOfMemoryError,
    "READONLY": exceptions.ReadOnlyError,
}


class SharedConnection:
    """Opened at its first use, and again after it was lost. Belongs to one event loop."""

    def __init__(
        self, client: Redis, *, timeout: float, admit: Callable[[Info], None] = lambda info: None
    ) -> None:
        """To the same server as `client`; `timeout` in seconds, to connect and for each reply.

        `admit` is told about the server when a connection is new. What it raises, the calls raise.
        """
        self._options = client.connection_pool.connection_kwargs
        self._is_encrypted = issubclass(client.connection_pool.connection_class, SSLConnection)
        self._timeout = timeout
        self._admit = admit
        self._opening: asyncio.Task[_Pipeline] | None = None

    def call(self, *words: str | bytes | int) -> Awaitable[Any]:
        """One command's reply. redis.RedisError: it may or may not have been carried out."""
        if self._opening is None or _is_lost(self._opening):
            self._opening = asyncio.ensure_future(self._open())
        if self._opening.done():
            return self._opening.result().send(words)
        return self._call_when_open(self._opening, words)

    async def _call_when_open(
        self, opening: "asyncio.Task[_Pipeline]", words: tuple[str | bytes | int, ...]
    ) -> Any:
        # Shielded: a caller that gives up does not take the connection from the others.
        pipeline = await asyncio.shield(opening)
        return await pipeline.send(words)

    def close(self) -> None:
        """Calls that wait raise redis.ConnectionError, or are cancelled while it still opens."""
        if self._opening is None or _is_lost(self._opening):
            return
        if self._opening.done():
            self._opening.result().close()
        else:
            self._opening.cancel()

    async def _open(self) -> "_Pipeline":
        try:
            async with asyncio.timeout(self._timeout):
                pipeline = await self._connect()
                try:
                    for words in self._greeting():
                        await pipeline.send(words)
                    self._admit(await _ask(pipeline))
                except BaseException:  # else nobody would ever close it
                    pipeline.close()
                    raise
                return pipeline
        except TimeoutError as error:
            raise exceptions.TimeoutError("no connection in time") from error
        except OSError as error:
            raise exceptions.ConnectionError(str(error)) from error

    async def _connect(self) -> "_Pipeline":
        running, options = asyncio.get_running_loop(), self._options

        def protocol() -> _Pipeline:
            return _Pipeline(self._timeout)

        if "path" in options:
            return (await running.create_unix_connection(protocol, options["path"]))[1]
        return (
            await running.create_connection(
                protocol,
                options.get("host", "localhost"),
                options.get("port", 6379),
                ssl=self._ssl_context(),
            )
        )[1]

    def _ssl_context(self) -> ssl.SSLContext | None:
        if not self._is_encrypted:
            return None
        context = ssl.create_default_context()
        context.check_hostname = self._options["ssl_check_hostname"]
        context.verify_mode = {
            "required": ssl.CERT_REQUIRED,
            "optional": ssl.CERT_OPTIONAL,
            "none": ssl.CERT_NONE,
        }[self._options["ssl_cert_reqs"]]
        return context

    def _greeting(self) -> list[tuple[str | bytes | int, ...]]:
        greeting: list[tuple[str | bytes | int, ...]] = []
        if self._options.get("password"):
            user = self._options.get("username")
            password = self._options["password"]
            greeting.append(("AUTH", user, password) if user else ("AUTH", password))
        if self._options.get("db"):
            greeting.append(("SELECT", self._options["db"]))
        return greeting


async def _ask(pipeline: "_Pipeline") -> Info:
    try:
        return read(await pipeline.send(("INFO",)))
    except exceptions.NoPermissionError:
        return {}


def _is_lost(opening: "asyncio.Task[_Pipeline]") -> bool:
    if not opening.done():
        return False
    return opening.cancelled() or opening.exception() is not None or opening.result().is_lost


class _Pipeline(asyncio.Protocol):
    def __init__(self, timeout: float) -> None:
        self.is_lost = False
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._transport: Any = None
        self._reader = hiredis.Reader(
            protocolError=exceptions.ConnectionError, replyError=_reply_error
        )
        self._unsent: list[bytes] = []
        self._waiting: deque[tuple[asyncio.Future[Any], float]] = deque()
        self._watch: asyncio.TimerHandle | None = None

    def send(self, words: tuple[str | bytes | int, ...]) -> "asyncio.Future[Any]":
        reply = self._loop.create_future()
        if self.is_lost:
            reply.set_exception(exceptions.ConnectionError("the connection is lost"))
            return reply
        if not self._waiting:
            self._loop.call_soon(self._flush)  # with what others send in this turn of the loop
        self._unsent.append(hiredis.pack_command(words))  # type: ignore[arg-type]
        self._waiting.append((reply, self._loop.time()))
        if self._watch is None:
            self._watch = self._loop.call_later(self._timeout, self._look_at_the_clock)
        return reply

    def close(self) -> None:
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        while (answer := self._reader.gets()) is not False:
            reply, _ = self._waiting.popleft()
            if isinstance(answer, exceptions.ReadOnlyError):
                # It has become a replica: the next connection may lead to its successor.
                self._transport.abort()
            if reply.done():
                continue  # its caller went away
            if isinstance(answer, Exception):
                reply.set_exception(answer)
            else:
                reply.set_result(answer)
        if self._unsent and len(self._waiting) == len(self._unsent):
            self._loop.call_soon(self._flush)

    def connection_lost(self, exc: Exception | None) -> None:
        reason = str(exc) if exc else "Redis has closed the connection"
        self._fail(exceptions.ConnectionError(reason))

    def _flush(self) -> None:
        if self._unsent and not self.is_lost:
            self._transport.write(b"".join(self._unsent))
        self._unsent.clear()

    def _look_at_the_clock(self) -> None:
        self._watch = None
        if not self._waiting:
            return
        left = self._waiting[0][1] + self._timeout - self._loop.time()
        if left > 0:
            self._watch = self._loop.call_later(left, self._look_at_the_clock)
        else:
            # Replies come in order: one late reply delays all that follow.
            self._fail(exceptions.TimeoutError("no reply in time"))
            self._transport.abort()

    def _fail(self, error: Exception) -> None:
        self.is_lost = True
        while self._waiting:
            reply, _ = self._waiting.popleft()
            if not reply.done():
                reply.set_exception(error)


def _reply_error(text: str) -> exceptions.ResponseError:
    return _ERRORS.get(text.partition(" ")[0], exceptions.ResponseError)(text)
