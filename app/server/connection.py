"""A connection to a caller: the endpoint's requests are answered where they were received, all
others by Flask on a thread; the replies go out in the order of the requests.

A request is looked at as soon as its head is there. What can be refused without its body is refused
then, and nothing of the body is kept; else as much of it is read as its route allows.
"""

import asyncio
import logging
from collections import deque
from concurrent.futures import Future
from functools import partial
from math import inf
from time import perf_counter
from typing import TYPE_CHECKING, cast

from app.intake.waiting import start
from app.replies import Reply
from app.server import rendering
from app.server.request import GoneAway, Request, RequestReader, refusal
from app.shopify.app_proxy import Verdict
from app.tracking import ENDPOINT
from app.tracking.body import WIRE_LIMIT

if TYPE_CHECKING:
    from app.server.server import Server

logger = logging.getLogger(__name__)

_LINGER_LIMIT = 4 * 1024 * 1024  # bytes that are thrown away after an early reply


class Connection(asyncio.Protocol):
    def __init__(self, server: "Server") -> None:
        self.deadline = inf  # of the loop's time
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._requests: deque[Request] = deque()  # the first is answered, or waits for its body
        self._reader = RequestReader(self._requests)
        self._is_answering = False
        self._is_advancing = False
        self._is_write_paused = False
        self._writers: list[Future[None]] = []  # replies that wait for the caller to take more
        self._has_ended = False  # the caller has said all, and may still listen
        self._thrown_away: int | None = None  # bytes; None: what comes is read

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._server.connections.add(self)
        self._set_limit(self._server.limits.head)
        if self._server.is_stopping:
            self._close()

    def data_received(self, data: bytes) -> None:
        if self._thrown_away is not None:
            self._thrown_away += len(data)
            if self._thrown_away > _LINGER_LIMIT:
                self._close()
            return
        was_idle = self._is_idle()
        self._reader.feed(data)
        if self._is_answering:
            self._pause_reading()  # until what is there is answered
        elif self._requests:
            self._advance()
        elif was_idle and self._reader.has_begun:
            self._set_limit(self._server.limits.head)

    def eof_received(self) -> bool:
        """Whether to keep the connection for the replies to what has come."""
        self._has_ended = True
        self._reader.close()
        return self._is_answering and self._thrown_away is None

    def pause_writing(self) -> None:
        self._is_write_paused = True
        self._set_limit(self._server.limits.taking)
        self._pause_reading()

    def resume_writing(self) -> None:
        self._is_write_paused = False
        writers, self._writers = self._writers, []
        for writer in writers:
            writer.set_result(None)
        if self._is_answering:
            self.deadline = inf
        else:
            self._advance()

    def connection_lost(self, exc: Exception | None) -> None:
        """And leave nothing behind: what refers to itself waits long for the garbage collector."""
        self._server.connections.discard(self)
        self._transport = None
        self._reader.close()
        self._requests.clear()
        for writer in self._writers:
            writer.set_exception(GoneAway("the caller went away"))
        self._writers.clear()

    # What the server calls.

    def expire(self) -> None:
        """The time limit is over."""
        if self._is_write_paused or self._is_closing():
            for writer in self._writers:
                writer.set_exception(GoneAway("the caller takes nothing"))
            self._writers.clear()
            self.abort()
        elif not self._is_idle() and self._thrown_away is None:
            self._write(self._rendered(refusal(408), "1.1", is_last=True))
            self._close()
        else:
            self._close()

    def stop(self) -> None:
        if self._is_idle():
            self._close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # What Flask's threads call, through the loop.

    def want_body(self, request: Request, limit: int) -> None:
        """The route reads on, up to so many bytes and one more."""
        request.limit = limit
        self._is_answering = False
        self._advance()

    def write_piece(self, piece: bytes, taken: "Future[None]") -> None:
        """`taken` has its result when there may be more. GoneAway."""
        if self._transport is None:
            taken.set_exception(GoneAway("the caller went away"))
            return
        self._write(piece)
        if self._is_write_paused:
            self._writers.append(taken)
        else:
            taken.set_result(None)

    def finish(self, request: Request, reply: bytes, *, is_last: bool) -> None:
        """The last bytes of the reply."""
        self._server.answered += 1
        self._server.requests.observe(
            perf_counter() - request.started, request.route, request.status
        )
        self._is_answering = False
        if self._transport is None:
            return
        self._write(reply)
        self._requests.popleft()
        if is_last:
            self._end(request)
        elif not self._is_advancing:
            self._advance()

    def is_last(self, request: Request) -> bool:
        """Whether the connection ends with the reply to this request."""
        return (
            not (request.keep_alive and request.is_complete)
            or self._server.is_stopping
            or (self._has_ended and len(self._requests) == 1)
        )

    def break_off(self, request: Request, failure: BaseException) -> None:
        """A fault of ours, perhaps in the middle of a reply."""
        logger.error("a request was broken off", exc_info=failure, extra={"action": "broken_off"})
        self._is_answering = False
        self.abort()

    @property
    def date(self) -> bytes:
        return self._server.date

    @property
    def peer(self) -> str:
        """The caller's address; empty where the connection was reset before anybody asked."""
        return self._address("peername")[0]

    @property
    def local(self) -> tuple[str, int]:
        return self._address("sockname")

    def _address(self, name: str) -> tuple[str, int]:
        address = self._transport.get_extra_info(name) if self._transport else None
        return (address[0], address[1]) if isinstance(address, tuple) else ("", 0)

    # One request after the other.

    def _advance(self) -> None:
        self._is_advancing = True
        try:
            while self._requests and not self._is_answering and self._can_write():
                if not self._serve(self._requests[0]):
                    self._await_body(self._requests[0])
                    return
        finally:
            self._is_advancing = False
        if not self._can_write() or self._is_answering:
            return
        if self._has_ended or self._server.is_stopping:
            self._close()
            return
        self._set_limit(
            self._server.limits.head if self._reader.has_begun else self._server.limits.idle
        )
        self._resume_reading()

    def _is_idle(self) -> bool:
        """Whether nothing has come that is not answered."""
        return not self._requests and not self._reader.has_begun

    def _can_write(self) -> bool:
        return (
            self._transport is not None
            and not self._is_write_paused
            and self._thrown_away is None
            and not self._is_closing()
        )

    def _is_closing(self) -> bool:
        return self._transport is not None and self._transport.is_closing()

    def _serve(self, request: Request) -> bool:
        """Take the next step with a request; False where it needs more of its body."""
        request.started = perf_counter()
        if request.refused:
            logger.info(
                "a request was refused",
                extra={"action": "bad_request", "status": request.refused.status},
            )
            self._reply(request, request.refused)
            return True
        if request.method == b"POST" and request.path in self._server.endpoint_paths:
            return self._serve_endpoint(request)
        if request.step == 0 or request.is_complete or request.is_too_large:
            # First with the head alone, or with what came along with it.
            request.step = 1
            self._begin_answer()
            self._server.flask.answer(request, self)
            return True
        return False

    def _serve_endpoint(self, request: Request) -> bool:
        request.route = ENDPOINT
        if request.verdict is None:
            admitted = self._server.endpoint.admit(request.query)
            if isinstance(admitted, Reply):
                self._reply(request, admitted)
                return True
            request.verdict, request.limit = admitted, WIRE_LIMIT
        if not (request.is_complete or request.is_too_large):
            return False
        self._begin_answer()
        assert isinstance(request.verdict, Verdict)  # noqa: S101
        encoding = request.field(b"content-encoding").decode("latin-1")
        body, request.body = bytes(request.body), b""
        self._server.taking += 1
        call = self._server.endpoint.take(request.verdict, encoding, body)
        start(call, partial(self._answered, request))
        return True

    def _answered(
        self, request: Request, reply: Reply | None, failure: BaseException | None
    ) -> None:
        self._server.taking -= 1
        if reply is None:
            self.break_off(request, failure or RuntimeError("no reply"))
        else:
            self._reply(request, reply)

    def _reply(self, request: Request, reply: Reply) -> None:
        request.status = reply.status
        is_last = self.is_last(request)
        self.finish(request, self._rendered(reply, request.version, is_last=is_last),
                    is_last=is_last)  # fmt: skip

    def _begin_answer(self) -> None:
        self._is_answering = True
        self.deadline = inf
        if not self._requests[0].is_complete:
            self._pause_reading()

    def _await_body(self, request: Request) -> None:
        if self._has_ended:  # the rest will never come
            self._close()
            return
        if request.step < 2:
            request.step = 2
            self._set_limit(self._server.limits.body)
            expects = request.field(b"expect").lower() == b"100-continue"
            if expects and request.version == "1.1" and not request.size:
                self._write(rendering.CONTINUE)
        self._resume_reading()

    def _rendered(self, reply: Reply, version: str, *, is_last: bool) -> bytes:
        return rendering.rendered(reply, date=self._server.date, version=version, is_last=is_last)

    def _end(self, request: Request) -> None:
        """After the last reply. To close at once while the caller still sends would destroy the
        reply on its way: what comes is thrown away for a while."""
        self._reader.close()
        self._requests.clear()
        is_silent = request.is_complete and not request.refused
        if is_silent or self._has_ended or self._transport is None:
            self._close()
            return
        self._thrown_away = 0
        self._set_limit(self._server.limits.lingering)
        if self._transport.can_write_eof():
            self._transport.write_eof()  # the caller need not wait for the end
        self._resume_reading()

    def _set_limit(self, seconds: float) -> None:
        self.deadline = self._server.loop.time() + seconds

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._is_closing():
            self._transport.write(data)

    def _close(self) -> None:
        """Once the caller has taken what was written, for which there is a limit as well."""
        if self._transport is not None and not self._is_closing():
            self._set_limit(self._server.limits.taking)
            self._transport.close()

    def _pause_reading(self) -> None:
        if self._transport is not None and self._transport.is_reading():
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._transport is not None and not self._transport.is_reading():
            self._transport.resume_reading()
