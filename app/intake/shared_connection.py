"""One connection to Redis for all requests of an event loop.

While Redis works on what was sent, what comes in waits and goes out together: a round trip, and the
system calls on both sides, are shared by as many requests as there are. Each reply finds its caller
by the order of the calls.

Why not redis.asyncio: a call through it takes 12 times as much processor time.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import hiredis
from redis import Redis, SSLConnection, exceptions

from app.intake.places import Places
from app.intake.roles import is_elsewhere, require_primary
from app.intake.trust import Info, read
from config.redis_url import Address

_FOLLOW_EVERY = 0.25  # s, what Sentinel is asked for each loop
_ERRORS: dict[str, type[exceptions.RedisError]] = {
    "ASK": exceptions.AskError,
    "CLUSTERDOWN": exceptions.ClusterDownError,
    "LOADING": exceptions.BusyLoadingError,
    "MASTERDOWN": exceptions.MasterDownError,
    "MOVED": exceptions.MovedError,
    "NOPERM": exceptions.NoPermissionError,
    "NOSCRIPT": exceptions.NoScriptError,
    "OOM": exceptions.OutOfMemoryError,
    "READONLY": exceptions.ReadOnlyError,
    "TRYAGAIN": exceptions.TryAgainError,
}


class SharedConnection:
    """Opened at its first use, and again after it was lost. Belongs to one event loop."""

    def __init__(
        self, client: Redis, *, timeout: float, admit: Callable[[Info], None] = lambda info: None
    ) -> None:
        """To the same server as `client`; `timeout` in seconds, to connect and for each reply.

        `admit` is told about the server when a connection is new. What it raises, the calls raise.
        """
        pool = client.connection_pool
        # Never connected: it knows what redis-py has read in the address.
        self._told = pool.connection_class(**pool.connection_kwargs)
        self._places: Places = pool.connection_kwargs["places"]
        self._asking = ThreadPoolExecutor(1, "sentinel")  # starts its thread at the first use
        self._timeout = timeout
        self._admit = admit
        self._opening: asyncio.Task[_Pipeline] | None = None
        self._following: asyncio.Task[None] | None = None

    def call(self, *words: str | bytes | int, asking: bool = False) -> Awaitable[Any]:
        """One command's reply. `asking` where another node of a cluster has sent us here for now.
        redis.RedisError: it may or may not have been carried out."""
        if self._opening is None or _is_lost(self._opening):
            self._opening = asyncio.ensure_future(self._open())
        if self._opening.done():
            return self._opening.result().send(words, asking=asking)
        return self._call_when_open(self._opening, words, asking)

    async def _call_when_open(
        self, opening: "asyncio.Task[_Pipeline]", words: tuple[str | bytes | int, ...], asking: bool
    ) -> Any:
        # Shielded: a caller that gives up does not take the connection from the others.
        pipeline = await asyncio.shield(opening)
        return await pipeline.send(words, asking=asking)

    def close(self) -> None:
        """Calls that wait raise redis.ConnectionError, or are cancelled while it still opens."""
        if self._following is not None:
            self._following.cancel()
        if self._opening is None or _is_lost(self._opening):
            return
        if self._opening.done():
            self._opening.result().close()
        else:
            self._opening.cancel()

    async def _open(self) -> "_Pipeline":
        """Within the time limit in all: after a server that hangs, the next opening begins with
        another one."""
        address: Address | None = None
        failure: exceptions.RedisError = exceptions.ConnectionError("there is no address")
        try:
            async with asyncio.timeout(self._timeout):
                for address in await self._candidates():
                    try:
                        pipeline = await self._open_to(address)
                    except (OSError, exceptions.ConnectionError) as error:
                        failure = exceptions.ConnectionError(str(error))
                        if isinstance(error, exceptions.ConnectionError):
                            failure = error
                        self._places.leave(address)
                    else:
                        self._places.found(address)
                        if self._places.is_blocking:
                            self._following = asyncio.ensure_future(self._follow(pipeline, address))
                        return pipeline
        except TimeoutError as error:
            if address:
                self._places.leave(address)
            raise exceptions.TimeoutError("no connection in time") from error
        raise failure

    async def _candidates(self) -> Iterable[Address]:
        if not self._places.is_blocking:
            return self._places.candidates()
        running = asyncio.get_running_loop()
        return await running.run_in_executor(self._asking, self._places.candidates)

    async def _follow(self, pipeline: "_Pipeline", address: Address) -> None:
        """Close the connection when the primary is elsewhere."""
        running = asyncio.get_running_loop()
        while not pipeline.is_lost:
            await asyncio.sleep(_FOLLOW_EVERY)
            if not await running.run_in_executor(self._asking, self._places.is_current, address):
                pipeline.close()
                return

    async def _open_to(self, address: Address) -> "_Pipeline":
        running = asyncio.get_running_loop()
        host, port = address
        encryption = _context_of(self._told) if isinstance(self._told, SSLConnection) else None
        _, pipeline = await running.create_connection(
            lambda: _Pipeline(self._timeout, lambda: self._places.leave(address)),
            host,
            port,
            ssl=encryption,
        )
        try:
            for words in self._greeting():
                await pipeline.send(words)
            info = await _ask(pipeline)
            require_primary(info)
            self._admit(info)
        except BaseException:  # else nobody would ever close it
            pipeline.close()
            raise
        return pipeline

    def _greeting(self) -> list[tuple[str | bytes | int, ...]]:
        greeting: list[tuple[str | bytes | int, ...]] = []
        told = self._told
        if told.password:
            login = (told.username, told.password) if told.username else (told.password,)
            greeting.append(("AUTH", *login))
        if told.client_name:
            greeting.append(("CLIENT", "SETNAME", told.client_name))
        if told.db:
            greeting.append(("SELECT", told.db))
        return greeting


def _context_of(told: SSLConnection) -> ssl.SSLContext:
    """As redis-py makes it."""
    context = ssl.create_default_context()
    context.check_hostname = told.check_hostname
    context.verify_mode = told.cert_reqs
    for flag in told.ssl_include_verify_flags or ():
        context.verify_flags |= flag
    for flag in told.ssl_exclude_verify_flags or ():
        context.verify_flags &= ~flag
    if told.certfile or told.keyfile:
        context.load_cert_chain(told.certfile, told.keyfile, told.certificate_password)
    if told.ca_certs or told.ca_path or told.ca_data:
        context.load_verify_locations(told.ca_certs, told.ca_path, told.ca_data)
    if told.ssl_min_version is not None:
        context.minimum_version = told.ssl_min_version
    if told.ssl_ciphers:
        context.set_ciphers(told.ssl_ciphers)
    return context


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
    def __init__(self, timeout: float, leave: Callable[[], None]) -> None:
        """`leave` is called where the server is not to be the first that is asked again."""
        self.is_lost = False
        self._timeout = timeout
        self._leave = leave
        self._loop = asyncio.get_running_loop()
        self._transport: Any = None
        self._reader = hiredis.Reader(
            protocolError=exceptions.ConnectionError, replyError=_reply_error
        )
        self._unsent: list[bytes] = []
        self._waiting: deque[tuple[asyncio.Future[Any], float]] = deque()
        self._watch: asyncio.TimerHandle | None = None

    def send(
        self, words: tuple[str | bytes | int, ...], *, asking: bool = False
    ) -> "asyncio.Future[Any]":
        if asking:  # of the next command alone, and nothing comes between the two
            self.send(("ASKING",)).add_done_callback(asyncio.Future.exception)
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
            if isinstance(answer, Exception) and _is_to_leave(answer):
                self._leave()  # the next connection may lead to its successor
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
        if not self.is_lost:
            self._leave()
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
            self._leave()
            self._fail(exceptions.TimeoutError("no reply in time"))
            self._transport.abort()

    def _fail(self, error: Exception) -> None:
        self.is_lost = True
        while self._waiting:
            reply, _ = self._waiting.popleft()
            if not reply.done():
                reply.set_exception(error)


def _is_to_leave(error: Exception) -> bool:
    return isinstance(error, exceptions.BusyLoadingError) or is_elsewhere(error)


def _reply_error(text: str) -> exceptions.RedisError:
    code, _, rest = text.partition(" ")
    is_redirection = code in ("ASK", "MOVED")  # made of the slot and the address behind it
    return _ERRORS.get(code, exceptions.ResponseError)(rest if is_redirection else text)
