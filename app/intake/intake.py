"""The order in which the journals are asked, and what happened to a batch in the end."""

import logging
from collections.abc import Callable, Iterator
from typing import Protocol

from app.intake.batch import Batch
from app.intake.outcomes import Outcomes
from app.intake.pause import Pause

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
        stream: Journal,
        store: Journal,
        mode: str,
        is_persistent: Callable[[], bool],
        outcomes: Outcomes,
    ) -> None:
        """`is_persistent` asks Redis whether it may be the only holder of a batch; for "auto"."""
        self._stream = stream
        self._store = store
        self._stream_first: bool | None = {"stream": True, "store": False}.get(mode)
        self._is_persistent = is_persistent
        self.outcomes = outcomes

    def append(self, batch: Batch) -> None:
        """Returns when one journal has the batch for good. NotStored when none could take it."""
        for journal in self._journals():
            if not journal.pause.allows():
                continue
            try:
                journal.append(batch)
            except Exception as error:  # noqa: BLE001  # whatever it is, the next one may do
                if journal.pause.failed():
                    _log_pause(
                        "journal_paused", "a journal is left alone for a while", journal, error
                    )
            else:
                if journal.pause.succeeded():
                    _log_pause("journal_back", "a journal takes batches again", journal)
                return
        self.outcomes.count(
            {
                "received": batch.received_count,
                "rejected": batch.rejected_count,
                "not_stored": batch.received_count - batch.rejected_count,
            }
        )
        raise NotStored

    def close(self) -> None:
        self._stream.close()
        self._store.close()

    def _journals(self) -> Iterator[Journal]:
        # The disk spool will be the last of them.
        if self._is_stream_first():
            yield self._stream
        yield self._store

    def _is_stream_first(self) -> bool:
        if self._stream_first is None and self._stream.pause.allows():
            try:
                self._stream_first = self._is_persistent()
            except Exception as error:  # noqa: BLE001  # Redis is away: asked again later
                if self._stream.pause.failed():
                    _log_pause(
                        "journal_paused",
                        "Redis does not say whether it is persistent",
                        self._stream,
                        error,
                    )
                return False
            self._stream.pause.succeeded()
            logger.info(
                "the order of the journals is known",
                extra={"action": "intake_order", "stream_first": self._stream_first},
            )
        return bool(self._stream_first)


def _log_pause(action: str, message: str, journal: Journal, error: Exception | None = None) -> None:
    """Said once when it begins and once when it ends, not for every batch in between."""
    fields = {"action": action, "journal": type(journal).__name__.lower()}
    if error is None:
        logger.info(message, extra=fields)
    else:
        logger.warning(message, extra={**fields, "cause": f"{type(error).__name__}: {error}"})
