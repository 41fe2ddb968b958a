"""The order in which the journals are asked, and what becomes of a batch."""

import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Protocol

from redis import RedisError

from app.intake.breaker import CircuitBreaker
from app.intake.limits import RateLimited
from app.intake.outcomes import Outcomes
from app.intake.stream import Stream, StreamFull
from app.intake.submission import Submission
from app.intake.waiting import offload

logger = logging.getLogger(__name__)


class Journal(Protocol):
    """Takes a batch over durably, or raises: then the next journal is asked, and this one is
    skipped for a while."""

    name: str  # in logs, metrics and Redis
    breaker: CircuitBreaker

    def append(self, submission: Submission) -> int:
        """Returns how many of the batch's events were seen before."""

    def close(self) -> None:
        """Close the connections."""


class NotStored(Exception):
    """No journal could take the batch; the caller still has it."""


class Intake:
    def __init__(
        self,
        *,
        stream: Stream,
        postgres: Journal,
        spool: Journal,
        mode: str,
        is_persistent: Callable[[], bool],
        outcomes: Outcomes,
    ) -> None:
        """`is_persistent` asks Redis, for "auto", whether it may be the only holder of a batch."""
        self.stream, self.postgres, self.spool = stream, postgres, spool
        self._stream_first: bool | None = {"stream": True, "store": False}.get(mode)
        self._is_persistent = is_persistent
        self.outcomes = outcomes

    async def append(self, submission: Submission) -> None:
        """Returns when one journal has the batch for good.

        NotStored when none could take it, RateLimited when none should.
        """
        if await self.take(submission):
            self._count_skipped_limits(submission)
            return
        if await _ask([self.spool], submission):
            self._count_skipped_limits(submission)
            # What becomes of the events is known, and counted, when the spool is drained.
            self.outcomes.count(
                {
                    "duplicate": submission.repeats,
                    "rejected": submission.rejected_count,
                    "spooled": len(submission.batch.events),
                }
            )
            return
        self.outcomes.count(
            {
                "rejected": submission.rejected_count,
                "not_stored": submission.received_count - submission.rejected_count,
            }
        )
        raise NotStored

    def report(self) -> None:
        """Carry to Redis what was counted and which journals are skipped."""
        skipped = {
            journal.name: journal.breaker.since
            for journal in (self.stream, self.postgres, self.spool)
            if journal.breaker.since
        }
        if self.stream.full_since:
            skipped[self.stream.name] = self.stream.full_since
        with suppress(RedisError):
            self.stream.report(skipped)

    def _count_skipped_limits(self, submission: Submission) -> None:
        if self.stream.breaker.since:  # Redis is away, and the rate limits with it
            self.outcomes.count({"limits_skipped": submission.received_count})

    async def take(self, submission: Submission) -> bool:
        """Offer the batch to the stream and to Postgres; whether one of them has taken it."""
        return await _ask(await self._servers(), submission)

    def close(self) -> None:
        for journal in (self.stream, self.postgres, self.spool):
            journal.close()

    async def _servers(self) -> list[Journal | Stream]:
        return [self.stream, self.postgres] if await self._is_stream_first() else [self.postgres]

    async def _is_stream_first(self) -> bool:
        breaker = self.stream.breaker
        if self._stream_first is None and breaker.allow():
            try:
                self._stream_first = await offload(self._is_persistent)
            except Exception as error:  # noqa: BLE001  # Redis is away: asked again later
                if breaker.record_failure():
                    _log_failure(self.stream, error)
                return False
            if breaker.record_success():
                _log_return(self.stream)
            logger.info(
                "the order of the journals is known",
                extra={"action": "intake_order", "stream_first": self._stream_first},
            )
        return bool(self._stream_first)


async def _ask(journals: Iterable[Journal | Stream], submission: Submission) -> bool:
    """Whether one of the journals took the batch; the first that does."""
    for journal in journals:
        if not journal.breaker.allow():
            continue
        try:
            await _append(journal, submission)
        except RateLimited:
            journal.breaker.record_success()
            raise
        except StreamFull:  # it says so itself, and Redis goes on limiting and filtering
            journal.breaker.record_success()
        except Exception as error:  # noqa: BLE001  # whatever it is, the next journal may take it
            if journal.breaker.record_failure():
                _log_failure(journal, error)
        else:
            if journal.breaker.record_success():
                _log_return(journal)
            return True
    return False


async def _append(journal: Journal | Stream, submission: Submission) -> None:
    if isinstance(journal, Stream):  # knows how to wait on an event loop
        await journal.append(submission)
    else:
        await offload(journal.append, submission)


def _log_failure(journal: Journal | Stream, error: Exception) -> None:
    """Called once when the failing begins, not for every batch."""
    logger.warning(
        "journal failed; skipping it for now",
        extra={
            "action": "journal_paused",
            "journal": journal.name,
            "cause": f"{type(error).__name__}: {error}",
        },
    )


def _log_return(journal: Journal | Stream) -> None:
    logger.info(
        "journal takes batches again",
        extra={"action": "journal_back", "journal": journal.name},
    )
