"""What a web process does beside its requests: gives the spool's batches to the journals before it,
as soon as one takes them again, and carries on what was counted."""

import fcntl
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from app.batch.batch import Batch
from app.intake.spool import Spool, Spooled
from app.store.salvage import read_or_reject

logger = logging.getLogger(__name__)

_EVERY = 0.5  # s between looks at the spool
_AT_ONCE = 100  # batches that are removed together
_LAST_TRY = 5.0  # s, when the process ends: the disk may end with it


class Drainer:
    def __init__(
        self,
        spool: Spool,
        folder: Path,
        take: Callable[[Batch], bool],
        report: Callable[[], None] = lambda: None,
    ) -> None:
        """`take` gives a batch to another journal, and says whether one took it; `report` carries
        the counts on."""
        self._spool = spool
        self._lock_path = folder / "drain.lock"
        self._take = take
        self._report = report
        self._stop = threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Once in each process that serves, after the fork; further calls do nothing."""
        if self._thread is None:
            with self._starting:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="drainer", daemon=True)
                    self._thread.start()

    def stop(self) -> None:
        """Try once more and end."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(_LAST_TRY)

    def drain(self) -> int:
        """Give back all that waits, as far as it is taken; returns the number of batches.

        A crash between the two steps gives a batch back again, which the journals tell.
        """
        given = 0
        with self._turn() as is_mine:
            while is_mine and (waiting := self._spool.oldest(_AT_ONCE)):
                taken = []
                for spooled in waiting:
                    if not self._take(_read(spooled)):
                        break
                    taken.append(spooled.id)
                if taken:
                    self._spool.remove(taken)
                given += len(taken)
                if len(taken) < len(waiting):
                    break
        if given:
            logger.info(
                "batches left the spool", extra={"action": "spool_drained", "batches": given}
            )
        return given

    def _run(self) -> None:
        while True:
            is_last = self._stop.wait(_EVERY)
            try:
                self._report()
                self.drain()
            except Exception:  # whatever it is, what waits stays where it is
                logger.exception("the spool is not drained", extra={"action": "drain_failed"})
                self._stop.wait(10 * _EVERY)
            if is_last:
                return

    @contextmanager
    def _turn(self) -> Iterator[bool]:
        """One process of a machine drains at a time, or the order of arrival would be lost."""
        if not self._lock_path.parent.exists():
            yield False
            return
        file = os.open(self._lock_path, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
        finally:
            os.close(file)


def _read(spooled: Spooled) -> Batch:
    return read_or_reject(spooled.entry, f"spooled batch {spooled.id}", _with_keys)


def _with_keys(entry: Mapping[bytes, bytes]) -> Batch:
    batch = Batch.from_entry(entry)
    _ = batch.keys  # by which the journals tell repeats
    return batch
