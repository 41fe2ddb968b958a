"""The order in which the journals are asked, and what happened to a batch in the end."""

import logging
from collections.abc import Callable, Iterator
from typing import Protocol

from app.intake.batch import Batch
from app.intake.outcomes import Outcomes

logger = logging.getLogger(__name__)


class Journal(Protocol):
    """Takes a batch over durably, or raises: then the next journal is asked."""

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
            try:
                journal.append(batch)
            except Exception as error:  # noqa: BLE001  # whatever it is, the next one may do
                logger.warning(
                    "a journal could not take a batch",
                    extra={
                        "action": "journal_failed",
                        "journal": type(journal).__name__.lower(),
                        "shop": batch.shop,
                        "cause": f"{type(error).__name__}: {error}",
                    },
                )
            else:
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
        if self._stream_first is None:
            try:
                self._stream_first = self._is_persistent()
            except Exception as error:  # noqa: BLE001  # Redis is away: asked again next time
                logger.warning(
                    "Redis does not say whether it is persistent, Postgres is asked first",
                    extra={"action": "intake_order", "cause": f"{type(error).__name__}: {error}"},
                )
                return False
            logger.info(
                "intake order", extra={"action": "intake_order", "stream": self._stream_first}
            )
        return self._stream_first
