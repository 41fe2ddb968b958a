"""What a web process does beside its requests: it gives the spool's batches to the stream or to
Postgres as soon as one takes them again, and carries to Redis what was counted."""

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from app.batch.batch import FORM, Batch, UnreadableEntry, form_of
from app.batch.form import Form, NewerEntry
from app.intake.spool import Spool, Spooled
from app.intake.turn import Mark, turn
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
        self._failed_with: type[Exception] | None = None

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

        A batch that is given back stays until it can be deleted, on a full disk perhaps for long,
        and is not given back a second time. Only a crash between a journal's answer and the mark
        gives a batch back twice; its ids tell the journals that they have it.
        """
        given = 0
        with turn(self._lock_path) as mark:
            if mark is not None:
                try:
                    for number in self._steps(mark):
                        given += number
                finally:
                    self._spool.tidy()
                    if given:
                        logger.info(
                            "batches left the spool",
                            extra={"action": "spool_drained", "batches": given},
                        )
        return given

    def _steps(self, mark: Mark) -> Iterator[int]:
        failure = self._remove_given(mark)
        while waiting := self._spool.oldest(_STEP, after=max(mark.id, self._after)):
            self._be_sure_of(mark)
            number, looked_at = 0, 0
            for spooled in waiting:
                try:
                    batch = _read(spooled)
                except NewerEntry as error:
                    self._tell(error)
                else:
                    if not self._take(batch):
                        break
                    number += 1
                mark.set(spooled.id, spooled.spooled_at)
                looked_at += 1
            failure = self._remove_given(mark)
            yield number
            if looked_at < len(waiting):
                break
        if failure:
            raise failure

    def _be_sure_of(self, mark: Mark) -> None:
        """Nothing is given back that could not be marked. OSError."""
        try:
            mark.set(mark.id, mark.spooled_at)
        except OSError:
            self._spool.make_room()
            mark.set(mark.id, mark.spooled_at)

    def _remove_given(self, mark: Mark) -> Exception | None:
        """Delete what was given back; returns why some of it could not be deleted."""
        if not mark.id:
            return None
        try:
            ids = self._spool.up_to(mark.id, mark.spooled_at)
            last = ids[-1] if ids else 0
            after = self._after
            while some := [one for one in self._spool.oldest(_STEP, after=after) if one.id <= last]:
                given = [one.id for one in some if _was_readable(one, mark.form)]
                self._spool.remove(given)
                after = some[-1].id
                if mark.form == FORM:
                    self._after = max({one.id for one in some} - set(given), default=self._after)
        except (sqlite3.Error, OSError) as error:
            return error
        mark.clear()
        return None

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
                self._failed_with = None
            except Exception as error:  # whatever it is, the batches stay in the spool
                if type(error) is not self._failed_with:  # once, and not a thousand times
                    logger.exception(
                        "the spool could not be drained", extra={"action": "drain_failed"}
                    )
                self._failed_with = type(error)
                self._stop.wait(10 * _LOOK_EVERY)
            if is_last:
                self._report()  # what the last drain counted too
                return


def _read(spooled: Spooled) -> Batch:
    return read_or_reject(spooled.entry, f"spooled batch {spooled.id}", _with_keys)


def _with_keys(entry: Mapping[bytes, bytes]) -> Batch:
    batch = Batch.from_entry(entry)
    _ = batch.keys  # the journals need them, and they may be unreadable
    return batch


def _was_readable(spooled: Spooled, form: Form) -> bool:
    """Whether a release of that form could read a batch, or put it into rejected_events."""
    try:
        if int(spooled.entry[b"v"]) > form.version:
            return False
        return form_of(spooled.entry).is_readable_by(form)
    except (UnreadableEntry, ValueError):
        return True
