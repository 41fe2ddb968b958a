"""The order in which the journals are asked, and what happened to a batch in the end."""

import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Protocol

from redis import RedisError

from app.batch.batch import Batch
from app.intake.breaker import Pause
from app.intake.limits import RateLimited
from app.intake.outcomes import Outcomes
from app.intake.stream import Stream
from app.intake.waiting import offload

logger = logging.getLogger(__name__)


class Journal(Protocol):
    """Takes a batch over durably, or raises: then the next journal is asked, and this one is left
    alone for a while."""

    pause: Pause

    def append(self, batch: Batch) -> int:
        """Returns how many of the batch's events were seen before."""

    def close(self) -> None:
        """Let go of the connections."""


class NotStored(Exception):
    """No journal could take the batch; the caller still has it."""


class Intake:
    def __init__(
        self,
        *,
        stream: Stream,
        store: Journal,
        spool: Journal,
        mode: str,
        is_persistent: Callable[[], bool],
        outcomes: Outcomes,
    ) -> None:
        """`is_persistent` asks Redis whether it may be the only holder of a batch; for "auto"."""
        self.stream, self.store, self.spool = stream, store, spool
        self._stream_first: bool | None = {"stream": True, "store": False}.get(mode)
        self._is_persistent = is_persistent
        self.outcomes = outcomes

    async def append(self, batch: Batch) -> None:
        """Returns when one journal has the batch for good.

        NotStored when none could take it, RateLimited when none should.
        """
        if await self.take(batch):
            self._count_skipped_limits(batch)
            return
        if await _ask([self.spool], batch):
            self._count_skipped_limits(batch)
            # The events' outcome is known, and counted, when they are given back.
            self.outcomes.count(
                {
                    "duplicate": batch.repeats,
                    "rejected": batch.rejected_count,
                    "spooled": len(batch.events),
                }
            )
            return
        self.outcomes.count(
            {
                "rejected": batch.rejected_count,
                "not_stored": batch.received_count - batch.rejected_count,
            }
        )
        raise NotStored

    def report(self) -> None:
        """Carry the counts on, and which journals are left alone; both wait for Redis."""
        paused = {
            _name(journal): journal.pause.since
            for journal in (self.stream, self.store, self.spool)
            if journal.pause.since
        }
        with suppress(RedisError):
            self.stream.report(paused)

    def _count_skipped_limits(self, batch: Batch) -> None:
        if self.stream.pause.since:  # Redis is away, and the rate limits with it
            self.outcomes.count({"limits_skipped": batch.received_count})

    async def take(self, batch: Batch) -> bool:
        """Offer the batch to the stream and the store; whether one of them has taken it."""
        return await _ask(await self._servers(), batch)

    def close(self) -> None:
        for journal in (self.stream, self.store, self.spool):
            journal.close()

    async def _servers(self) -> list[Journal | Stream]:
        return [self.stream, self.store] if await self._is_stream_first() else [self.store]

    async def _is_stream_first(self) -> bool:
        pause = self.stream.pause
        if self._stream_first is None and pause.allows():
            try:
                self._stream_first = await offload(self._is_persistent)
            except Exception as error:  # noqa: BLE001  # Redis is away: asked again later
                if pause.failed():
                    _log_pause(self.stream, error)
                return False
            if pause.succeeded():
                _log_return(self.stream)
            logger.info(
                "the order of the journals is known",
                extra={"action": "intake_order", "stream_first": self._stream_first},
            )
        return bool(self._stream_first)


async def _ask(journals: Iterable[Journal | Stream], batch: Batch) -> bool:
    """Whether one of the journals took the batch; the first that does."""
    for journal in journals:
        if not journal.pause.allows():
            continue
        try:
            await _append(journal, batch)
        except RateLimited:
            journal.pause.succeeded()
            raise
        except Exception as error:  # noqa: BLE001  # whatever it is, the next one may do
            if journal.pause.failed():
                _log_pause(journal, error)
        else:
            if journal.pause.succeeded():
                _log_return(journal)
            return True
    return False


async def _append(journal: Journal | Stream, batch: Batch) -> None:
    if isinstance(journal, Stream):  # knows how to wait on an event loop
        await journal.append(batch)
    else:
        await offload(journal.append, batch)


def _log_pause(journal: Journal | Stream, error: Exception) -> None:
    """Once when it begins, not for every batch."""
    logger.warning(
        "a journal fails and is left alone for a while",
        extra={
            "action": "journal_paused",
            "journal": _name(journal),
            "cause": f"{type(error).__name__}: {error}",
        },
    )


def _log_return(journal: Journal | Stream) -> None:
    logger.info(
        "a journal takes batches again",
        extra={"action": "journal_back", "journal": _name(journal)},
    )


def _name(journal: Journal | Stream) -> str:
    return type(journal).__name__.lower()
