"""The order in which the journals are asked, and what becomes of a batch."""

import logging
from contextlib import suppress
from typing import Protocol

from redis import RedisError
from redis.exceptions import AskError, MovedError, TryAgainError

from app.intake.breaker import CircuitBreaker, log_return
from app.intake.limits import RateLimited
from app.intake.outcomes import Outcomes
from app.intake.stream import Stream, StreamFull
from app.intake.streams import Streams
from app.intake.submission import Submission
from app.intake.trust import Untrusted
from app.intake.waiting import offload
from config.causes import cause

logger = logging.getLogger(__name__)

_MOST_REDIRECTIONS = 3  # of a batch: MOVED, perhaps ASK, and where a failover came between
_PROBE_AFTER = 1.0  # s after a pause: where there are batches, one of them tries sooner


class Journal(Protocol):
    """Takes a batch over durably, or raises: then the next journal is asked, and this one is
    skipped for a while."""

    name: str  # in logs, metrics and Redis
    breaker: CircuitBreaker

    def append(self, submission: Submission) -> int:
        """Returns how many of the batch's events were seen before."""

    def ping(self) -> None:
        """Raises where it would not take a batch now."""

    def close(self) -> None:
        """Close the connections."""


class NotStored(Exception):
    """No journal could take the batch; the caller still has it."""


class Intake:
    def __init__(
        self,
        *,
        streams: Streams,
        postgres: Journal,
        spool: Journal,
        outcomes: Outcomes,
    ) -> None:
        self.streams, self.postgres, self.spool = streams, postgres, spool
        self.outcomes = outcomes

    async def append(self, submission: Submission) -> None:
        """Returns when one journal has the batch for good.

        NotStored when none could take it, RateLimited when none should.
        """
        if await self._take_by_stream(submission):
            return
        if await _ask(self.postgres, submission):
            self._count_skipped_limits(submission)
            return
        if await _ask(self.spool, submission):
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
        with suppress(RedisError):
            self.streams.report(self.skipped())

    def skipped(self) -> dict[str, float]:
        """Since when (Unix seconds) this process skips which journals."""
        sinces: dict[str, float] = {}
        told = [(journal.name, journal.breaker.since) for journal in self._journals()]
        for name, since in (*told, *((one.name, one.full_since) for one in self.streams.all())):
            if since:
                sinces[name] = min(since, sinces.get(name, since))
        return sinces

    def _journals(self) -> list[Journal | Stream]:
        return [*self.streams.all(), self.postgres, self.spool]

    def _count_skipped_limits(self, submission: Submission) -> None:
        stream = self.streams.of(submission.batch.shop)
        if stream.breaker.since:  # Redis is away, and the rate limits with it
            self.outcomes.count({"limits_skipped": submission.received_count})

    async def take(self, submission: Submission) -> bool:
        """Offer the batch to the stream and to Postgres; whether one of them has taken it."""
        return await self._take_by_stream(submission) or await _ask(self.postgres, submission)

    async def _take_by_stream(self, submission: Submission) -> bool:
        """By that of the shop's node, which another node may name."""
        stream, asking = self.streams.of(submission.batch.shop), False
        for _ in range(_MOST_REDIRECTIONS):
            if not stream.trust.is_stream_first:
                break
            try:
                return await _ask(stream, submission, asking=asking)
            except AskError as error:
                stream = self.streams.follow(stream, error)
                asking = not isinstance(error, MovedError)
        return False

    def probe(self) -> None:
        """Try the skipped journals that no batch tries: a pause must end without traffic too."""
        for journal in self._journals():
            if not journal.breaker.since or not journal.breaker.allow(after=_PROBE_AFTER):
                continue
            try:
                journal.ping()
            except Exception:  # noqa: BLE001  # it is still away, and that has been logged
                journal.breaker.record_failure()
            else:
                if journal.breaker.record_success():
                    log_return(journal.name)

    def close(self) -> None:
        self.streams.close()
        self.postgres.close()
        self.spool.close()


async def _ask(journal: Journal | Stream, submission: Submission, *, asking: bool = False) -> bool:
    """Whether the journal took the batch. AskError."""
    if not journal.breaker.allow():
        return False
    try:
        await _append(journal, submission, asking)
    except (RateLimited, AskError):  # ASK and MOVED: it is well, and another node has the slot
        journal.breaker.record_success()
        raise
    except Untrusted:  # it is well, and not asked from now on
        journal.breaker.record_success()
    except StreamFull:  # it says so itself, and Redis goes on limiting and filtering
        journal.breaker.record_success()
    except TryAgainError:  # the slot is on its way to another node, the others are not
        journal.breaker.record_success()
    except Exception as error:  # noqa: BLE001  # whatever it is, the next journal may take it
        if journal.breaker.record_failure():
            _log_failure(journal, error)
    else:
        if journal.breaker.record_success():
            log_return(journal.name)
        return True
    return False


async def _append(journal: Journal | Stream, submission: Submission, asking: bool) -> None:
    if isinstance(journal, Stream):  # knows how to wait on an event loop
        await journal.append(submission, asking=asking)
    else:
        await offload(journal.append, submission)


def _log_failure(journal: Journal | Stream, error: Exception) -> None:
    """Called once when the failing begins, not for every batch."""
    logger.warning(
        "journal failed; skipping it for now",
        extra={
            "action": "journal_paused",
            "journal": journal.name,
            "cause": cause(error),
        },
    )
