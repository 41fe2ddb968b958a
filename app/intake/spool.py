"""The last journal: a SQLite file that all web processes of a machine share.

It takes a batch when neither Redis nor Postgres does, and gives batches back in order of arrival. A
batch is on the disk when `append` returns (WAL, synchronous=FULL: fsync before the reply). The file
is bounded; what is given back makes room.

Whoever has the file writes what all threads of its process have waiting, in one transaction.
SQLite has no queue for processes that wait: they raise a flag (a shared lock on a file beside it),
and whoever sees one after a write leaves the file to them for a moment.
"""

import errno
import fcntl
import itertools
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from app.intake.breaker import CircuitBreaker
from app.intake.submission import Submission

logger = logging.getLogger(__name__)

_PAGE = 4096  # bytes
_FEWEST_PAGES = 16
_ROOM_PAGES = 8  # less than this is full
_BUSY_TIMEOUT = 0.8  # s a request waits for other processes' writes to end
_BUSY_POLL = 0.002  # s; SQLite's own waiting sleeps ever longer, and in a queue comes too late
_HAND_OVER = 10 * _BUSY_POLL  # s after a write, where others wait
_SCHEMA = """
CREATE TABLE IF NOT EXISTS batches (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,  -- order of arrival, a number is used once
    spooled_at REAL NOT NULL,                      -- Unix seconds
    v          BLOB NOT NULL,
    shop       BLOB NOT NULL,
    batch      BLOB NOT NULL,
    events     BLOB NOT NULL,
    rejected   BLOB NOT NULL
)
"""
_INSERT = (
    "INSERT INTO batches (spooled_at, v, shop, batch, events, rejected) VALUES (?, ?, ?, ?, ?, ?)"
)
_FIELDS = (b"v", b"shop", b"batch", b"events", b"rejected")


class Spooled(NamedTuple):
    id: int
    entry: dict[bytes, bytes]  # as of Batch.to_entry


class Backlog(NamedTuple):
    batches: int
    oldest_at: float | None  # Unix seconds


class Spool:
    name = "spool"

    def __init__(self, folder: Path, *, max_bytes: int) -> None:
        """Nothing is touched before the first use; `folder` is made then."""
        self.breaker = CircuitBreaker(is_skipping=False)
        self._path = folder / "spool.sqlite"
        self._max_pages = max(_FEWEST_PAGES, max_bytes // _PAGE)
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._numbers = itertools.count()
        self._queued: dict[int, tuple[Any, ...]] = {}  # rows, by a number
        self._rests_until = 0.0
        self._flag_path = folder / "spool.sqlite-waiting"
        self._flag = -1  # the file's descriptor

    def append(self, submission: Submission) -> int:
        """Returns 0: which events were seen before is known once the batch is given back.

        sqlite3.Error, OSError: the file is at its bound, or the disk is full or not writable.
        """
        entry = submission.batch.to_entry()
        row = (time.time(), *(entry[name] for name in _FIELDS))
        number = next(self._numbers)
        self._queued[number] = row
        try:
            self._when_free(lambda: self._write_queued(number))
        finally:
            self._queued.pop(number, None)
        return 0

    def oldest(self, number: int, *, after: int = 0) -> list[Spooled]:
        """The batches that have waited longest, of those after an id; they stay until removed."""
        if not self._path.exists():
            return []
        with self._lock:
            rows = self._open().execute(
                "SELECT id, v, shop, batch, events, rejected FROM batches WHERE id > ?"
                " ORDER BY id LIMIT ?",
                (after, number),
            )
            return [Spooled(row[0], dict(zip(_FIELDS, row[1:], strict=True))) for row in rows]

    def remove(self, ids: Sequence[int]) -> None:
        """Delete batches that another journal has taken, or that are to be forgotten."""
        numbers = f"[{','.join(map(str, ids))}]"
        statement = "DELETE FROM batches WHERE id IN (SELECT value FROM json_each(?))"
        self._when_free(lambda: bool(self._open().execute(statement, [numbers])))
        with self._lock:  # its bytes are in the write-ahead log still
            self._open().execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def backlog(self) -> Backlog:
        if not self._path.exists():
            return Backlog(0, None)
        with self._lock:
            row = self._open().execute("SELECT count(*), min(spooled_at) FROM batches").fetchone()
            return Backlog(*row)

    def has_room(self) -> bool:
        """Whether a batch would fit. sqlite3.Error, OSError: it would not."""
        with self._lock:
            connection = self._open()
            (pages,) = connection.execute("PRAGMA page_count").fetchone()
            (free,) = connection.execute("PRAGMA freelist_count").fetchone()
        disk = os.statvfs(self._path.parent)
        return self._max_pages - pages + free > _ROOM_PAGES and (
            disk.f_bavail * disk.f_frsize > _ROOM_PAGES * _PAGE
        )

    def ping(self) -> None:
        """sqlite3.Error, OSError: it would not take a batch."""
        if not self.has_room():
            raise OSError(errno.ENOSPC, "the spool has no room")

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
            if self._flag >= 0:
                os.close(self._flag)
                self._flag = -1

    def _write_queued(self, number: int) -> bool:
        """Write all rows that are queued, or, where not all can be, that of the number; whether it
        is written, perhaps by another thread."""
        if number in self._queued:
            if time.monotonic() < self._rests_until:
                return False
            rows = dict(self._queued)
            try:
                self._insert(rows)
            except sqlite3.Error as error:
                if _is_busy(error) or len(rows) == 1:
                    raise
                self._insert({number: rows[number]})  # there may be room for one
        return True

    def _insert(self, rows: Mapping[int, tuple[Any, ...]]) -> None:
        connection = self._open()
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.executemany(_INSERT, rows.values())
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:  # a full disk has ended it already
                connection.execute("ROLLBACK")
            raise
        for number in rows:
            self._queued.pop(number, None)
        if self._flags(fcntl.LOCK_EX):
            self._flags(fcntl.LOCK_UN)
        else:
            self._rests_until = time.monotonic() + _HAND_OVER

    def _when_free(self, write: Callable[[], bool]) -> None:
        """Call it until it has written, no other thread of the process at the same time."""
        deadline = time.monotonic() + _BUSY_TIMEOUT
        is_flagged = False
        try:
            while True:
                try:
                    with self._lock:
                        if write():
                            return
                except sqlite3.OperationalError as error:
                    if not _is_busy(error) or time.monotonic() > deadline:
                        raise
                    is_flagged = self._flags(fcntl.LOCK_SH)
                time.sleep(_BUSY_POLL)
        finally:
            if is_flagged:
                self._flags(fcntl.LOCK_UN)

    def _flags(self, operation: int) -> bool:
        """Raise this process's flag (LOCK_SH), lower it (LOCK_UN), or see that no other is raised
        (LOCK_EX); whether that went."""
        try:
            fcntl.flock(self._flag, operation | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _open(self) -> sqlite3.Connection:
        # Not before the first use: a connection must not be carried through gunicorn's fork.
        if self._connection is None:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._keep_private()
            if self._flag < 0:
                self._flag = os.open(self._flag_path, os.O_CREAT | os.O_RDWR, 0o600)
            try:
                self._connection = self._connect()
            except sqlite3.OperationalError:
                raise
            except sqlite3.DatabaseError:
                self._put_aside()
                self._connection = self._connect()
        return self._connection

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, timeout=0, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute(f"PRAGMA page_size = {_PAGE}")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute(f"PRAGMA max_page_count = {self._max_pages}")
            connection.execute(_SCHEMA)
        except BaseException:
            connection.close()
            raise
        return connection

    def _keep_private(self) -> None:
        """Shoppers' data: for this user only, the files of an earlier release too."""
        # Opened only where it is new: closing a file drops SQLite's locks on it in this process.
        # What SQLite puts beside it takes its mode.
        with suppress(FileExistsError):
            os.close(os.open(self._path, os.O_CREAT | os.O_EXCL, 0o600))
        for pattern in ("spool.sqlite*", "damaged-*"):
            for file in self._path.parent.glob(pattern):
                with suppress(OSError):  # it is gone, or another user's
                    file.chmod(0o600)

    def _put_aside(self) -> None:
        """Keep a damaged file under another name, so that an operator can look at it."""
        aside = self._path.with_name(f"damaged-{time.time():.0f}.sqlite")
        self._path.rename(aside)
        logger.error(
            "the spool is damaged and was renamed",
            extra={"action": "spool_damaged", "file": str(aside)},
        )


def _is_busy(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
