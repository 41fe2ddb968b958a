"""The last journal: a SQLite file that all web processes of a machine share.

It takes a batch when neither Redis nor Postgres does, and gives batches back in order of arrival. A
batch is on the disk when `append` returns (WAL, synchronous=FULL: fsync before the reply). The file
is bounded; what is given back makes room.
"""

import errno
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Sequence
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

    def append(self, submission: Submission) -> int:
        """Returns 0: which events were seen before is known once the batch is given back.

        sqlite3.Error, OSError: the file is at its bound, or the disk is full or not writable.
        """
        entry = submission.batch.to_entry()
        row = (time.time(), *(entry[name] for name in _FIELDS))
        self._write(
            "INSERT INTO batches (spooled_at, v, shop, batch, events, rejected)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            row,
        )
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
        self._write("DELETE FROM batches WHERE id IN (SELECT value FROM json_each(?))", [numbers])
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

    def _write(self, statement: str, values: Sequence[Any]) -> None:
        deadline = time.monotonic() + _BUSY_TIMEOUT
        while True:
            try:
                with self._lock:
                    self._open().execute(statement, values)
                return
            except sqlite3.OperationalError as error:
                is_busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
                if not is_busy or time.monotonic() > deadline:
                    raise
            time.sleep(_BUSY_POLL)

    def _open(self) -> sqlite3.Connection:
        # Not before the first use: a connection must not be carried through gunicorn's fork.
        if self._connection is None:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._keep_private()
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
