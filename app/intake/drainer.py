"""What a web process does beside its requests: it gives the spool's batches to the stream or to
Postgres as soon as one takes them again, and carries to Redis what was counted."""

import fcntl
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from app.batch.batch import Batch
from app.batch.form import Form, NewerEntry
from app.intake.spool import Spool, Spooled
from app.store.salvage import read_or_reject

logger = logging.getLogger(__name__)

_LOOK_EVERY = 0.5  # s, at the spool
_STEP = 100  # batches that are given back, and then removed, together
_LAST_TRY_TIMEOUT = 5.0  # s, when the process ends: the disk may end with it


class Drainer:
    def __init__(
        self,
        spool: Spool,
        folder: Path,
        take: Callable[[Batch], bool],
        report: Callable[[], None] = lambda: None,
    ) -> None:
        """`take` offers a batch to the other journals and says whether one took it; `report`
        carries to Redis what was counted."""
        self._spool = spool
        self._lock_path = folder / "drain.lock"
        self._take = take
        self._report = report
        self._after = 0  # all up to this id that is still in the spool is of a newer release
        self._told: set[Form] = set()
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
        """Drain once more, and end."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(_LAST_TRY_TIMEOUT)

    def drain(self) -> int:
        """Give back what waits, in order, until a batch is not taken; returns how many were. A
        batch of a newer release stays, for a web process of that release.

        A crash between giving back and removing gives a batch back twice. Its ids tell the journals
        that they have it.
        """
        given = 0
        with self._turn() as is_mine:
            while is_mine and (waiting := self._spool.oldest(_STEP, after=self._after)):
                taken, newer = [], []
                for spooled in waiting:
                    try:
                        batch = _read(spooled)
                    except NewerEntry as error:
                        newer.append(spooled.id)
                        self._tell(error)
                        continue
                    if not self._take(batch):
                        break
                    taken.append(spooled.id)
                if taken:
                    self._spool.remove(taken)
                given += len(taken)
                self._after = max([self._after, *taken, *newer])
                if len(taken) + len(newer) < len(waiting):
                    break
        if given:
            logger.info(
                "batches left the spool", extra={"action": "spool_drained", "batches": given}
            )
        return given

    def _tell(self, newer: NewerEntry) -> None:
        if newer.form not in self._told:
            self._told.add(newer.form)
            logger.warning(
                "batches of a newer release wait in the spool for its web process",
                extra={"action": "newer_entries", "form": str(newer.form)},
            )

    def _run(self) -> None:
        while True:
            is_last = self._stop.wait(_LOOK_EVERY)
            try:
                self._report()
                self.drain()
            except Exception:  # whatever it is, the batches stay in the spool
                logger.exception("the spool could not be drained", extra={"action": "drain_failed"})
                self._stop.wait(10 * _LOOK_EVERY)
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
    _ = batch.keys  # the journals need them, and they may be unreadable
    return batch
