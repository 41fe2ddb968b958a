"""The last journal: a SQLite file that all web processes of a machine share.

It takes a batch when neither Redis nor Postgres does, and gives batches back in order of arrival. A
batch is on the disk when `append` returns (WAL, synchronous=FULL: fsync before the reply). The file
is bounded; what is given back makes room.

Whoever has the file writes what all threads of its process have waiting, in one transaction, and
leaves the file for a moment to other processes that wait (flag.py).

Nothing is taken that a full disk would keep: the write-ahead log never grows beyond the reserve
(reserve.py), in whose room it can be carried into the file, and a batch be deleted.
"""

import errno
import itertools
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from app.intake.breaker import CircuitBreaker
from app.intake.flag import Flag
from app.intake.reserve import Reserve
from app.intake.submission import Submission

logger = logging.getLogger(__name__)

_PAGE = 4096  # bytes
_FEWEST_PAGES = 16
_ROOM_PAGES = 8  # less than this is full
_SMALL_PAGES = 64  # an empty file that is larger gives its room back
_CHECKPOINT_PAGES = 64  # in the write-ahead log, after which they are carried into the file
_TREE_PAGES = 10  # that a write may change besides those of the batch itself
_LOG_PAGE = _PAGE + 24  # bytes of a page in the write-ahead log
_MOST_READ = 4 * 1024 * 1024  # bytes, and one more batch
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
# What a full disk answers.
_FULL = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR_WRITE,
    sqlite3.SQLITE_IOERR_FSYNC,
    sqlite3.SQLITE_IOERR_SHMSIZE,
}

_T = TypeVar("_T")
_Row = tuple[Any, ...]


class SpoolFull(Exception):
    """A batch is not taken, because it could not be deleted again."""


class _Busy(sqlite3.OperationalError):
    """Another process reads or writes."""

    sqlite_errorcode = sqlite3.SQLITE_BUSY


class Spooled(NamedTuple):
    id: int
    spooled_at: float  # Unix seconds
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
        self._log_path = folder / "spool.sqlite-wal"
        self._reserve = Reserve(folder)
        self._max_pages = max(_FEWEST_PAGES, max_bytes // _PAGE)
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._flag = Flag(folder / "spool.sqlite-waiting")
        self._numbers = itertools.count()
        self._queued: dict[int, _Row] = {}
        self._rests_until = 0.0

    def append(self, submission: Submission) -> int:
        """Returns 0: which events were seen before is known once the batch is given back.

        SpoolFull, sqlite3.Error, OSError: the file is at its bound, or the disk is full or not
        writable.
        """
        entry = submission.batch.to_entry()
        row = (time.time(), *(entry[name] for name in _FIELDS))
        number = next(self._numbers)
        self._queued[number] = row
        try:
            self._patiently(lambda connection: self._write_queued(connection, number))
        finally:
            self._queued.pop(number, None)
        return 0

    def oldest(self, number: int, *, after: int = 0) -> list[Spooled]:
        """The batches that have waited longest, of those after an id; they stay until removed. No
        more than a process has room for, and at least one where there is one."""
        rows = self._read(
            "SELECT id, spooled_at, v, shop, batch, events, rejected FROM batches WHERE id > ?"
            " ORDER BY id LIMIT ?",
            (after, number),
        )
        return [Spooled(row[0], row[1], dict(zip(_FIELDS, row[2:], strict=True))) for row in rows]

    def up_to(self, id_: int, spooled_at: float) -> list[int]:
        """The ids of a batch and all before it; none where the batch is not there."""
        rows = self._read(
            "SELECT id FROM batches WHERE id <= ?1 AND EXISTS"
            " (SELECT 1 FROM batches WHERE id = ?1 AND spooled_at = ?2) ORDER BY id",
            (id_, spooled_at),
        )
        return [row[0] for row in rows]

    def remove(self, ids: Sequence[int]) -> None:
        """Delete batches that another journal has taken, or that are to be forgotten.

        On a full disk one by one, in the room of the reserve. sqlite3.Error, OSError: some are
        left.
        """
        if not ids:
            return
        if self._reserve.held() != 0:
            try:
                self._delete(ids)
            except (sqlite3.OperationalError, OSError) as error:
                if not _is_full(error):
                    raise
                self.make_room()
            else:
                return
        self._patiently(_checkpoint)
        for id_ in ids:
            self._delete([id_])

    def make_room(self) -> None:
        """Let go of the reserve, until `tidy` takes it again; nothing is taken meanwhile."""
        self._reserve.let_go()

    def tidy(self) -> None:
        """After draining: give room back that is not needed any more, and hold the reserve again.
        Nobody else may be draining."""
        if self._reserve.held() is None:  # nothing was ever spooled
            return
        with suppress(sqlite3.OperationalError, OSError):
            self._patiently(_shrink)
        with suppress(OSError):  # no room yet: until then nothing is taken
            self._reserve.take()

    def backlog(self) -> Backlog:
        rows = self._read("SELECT count(*), min(spooled_at) FROM batches", ())
        return Backlog(*rows[0]) if rows else Backlog(0, None)

    def has_room(self) -> bool:
        """Whether a batch would fit. sqlite3.Error, OSError: it would not."""
        with self._lock:
            connection = self._open()
            (pages,) = connection.execute("PRAGMA page_count").fetchone()
            (free,) = connection.execute("PRAGMA freelist_count").fetchone()
        disk = os.statvfs(self._path.parent)
        held = self._reserve.held()
        return (
            self._max_pages - pages + free > _ROOM_PAGES
            and disk.f_bavail * disk.f_frsize > _ROOM_PAGES * _PAGE
            and bool(self._reserve.may_hold() if held is None else held)
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
            self._flag.close()

    def _write_queued(self, connection: sqlite3.Connection, number: int) -> None:
        """Write all rows that are queued, or, where not all can be, that of the number."""
        if number not in self._queued:
            return  # another thread wrote it
        if time.monotonic() < self._rests_until:
            raise _Busy
        rows = dict(self._queued)
        try:
            self._insert(connection, rows)
        except (SpoolFull, sqlite3.Error) as error:
            if _is_busy(error) or len(rows) == 1:
                raise
            self._insert(connection, {number: rows[number]})  # there may be room for one

    def _insert(self, connection: sqlite3.Connection, rows: Mapping[int, _Row]) -> None:
        if self._reserve.held() and not self._fits(rows.values()):
            _checkpoint(connection)
        connection.execute("BEGIN IMMEDIATE")  # one process at a time looks and writes
        try:
            if self._reserve.held() is None:
                self._reserve.take()
            if not self._fits(rows.values()):
                raise SpoolFull("the disk is full, or was until a moment ago")
            connection.executemany(_INSERT, rows.values())
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:  # a full disk has ended it already
                connection.execute("ROLLBACK")
            raise
        for number in rows:
            self._queued.pop(number, None)
        if self._flag.is_raised():
            self._rests_until = time.monotonic() + _HAND_OVER

    def _fits(self, rows: Iterable[_Row]) -> bool:
        """Whether the log, with these rows, would still fit into the reserve."""
        log = self._log_path.stat().st_size if self._log_path.exists() else 0
        pages = sum(sum(map(len, row[1:])) // _PAGE + _TREE_PAGES for row in rows)
        return log + pages * _LOG_PAGE <= (self._reserve.held() or 0)

    def _delete(self, ids: Sequence[int]) -> None:
        numbers = [f"[{','.join(map(str, ids))}]"]
        statement = "DELETE FROM batches WHERE id IN (SELECT value FROM json_each(?))"
        self._patiently(lambda connection: connection.execute(statement, numbers))
        with suppress(_Busy):  # its bytes are in the write-ahead log still
            self._patiently(_checkpoint)

    def _read(self, statement: str, values: Sequence[object]) -> list[_Row]:
        """The rows; none where there is no file yet."""
        if not self._path.exists():
            return []

        def read(connection: sqlite3.Connection) -> list[_Row]:
            rows, size = [], 0
            with closing(connection.execute(statement, values)) as cursor:
                for row in cursor:
                    rows.append(row)
                    size += sum(len(value) for value in row if isinstance(value, bytes))
                    if size >= _MOST_READ:
                        break
            return rows

        try:
            return self._patiently(read)
        except (sqlite3.OperationalError, OSError) as error:
            if not _is_full(error):
                raise
            self.make_room()  # whoever opens the file first needs a little
            return self._patiently(read)

    def _patiently(self, step: Callable[[sqlite3.Connection], _T]) -> _T:
        """Do a step, again and again while another process writes."""
        deadline = time.monotonic() + _BUSY_TIMEOUT
        waits = False
        try:
            while True:
                try:
                    with self._lock:
                        return step(self._open())
                except sqlite3.OperationalError as error:
                    if not _is_busy(error) or time.monotonic() > deadline:
                        raise
                waits = True
                self._flag.raise_()
                time.sleep(_BUSY_POLL)
        finally:
            if waits:
                self._flag.lower()

    def _open(self) -> sqlite3.Connection:
        # Not before the first use: a connection must not be carried through gunicorn's fork.
        if self._connection is None:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._keep_private()
            self._flag.open()
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
            connection.execute("PRAGMA temp_store = MEMORY")
            connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
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
        for pattern in ("spool.*", "damaged-*"):
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


def _checkpoint(connection: sqlite3.Connection) -> None:
    """Carry the write-ahead log into the file, and leave no bytes in it. _Busy: somebody reads."""
    is_busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    if is_busy:
        raise _Busy


def _shrink(connection: sqlite3.Connection) -> None:
    """Give the room of an empty file back."""
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    if pages > _SMALL_PAGES and not connection.execute("SELECT 1 FROM batches LIMIT 1").fetchone():
        connection.execute("VACUUM")
        _checkpoint(connection)


def _is_busy(error: Exception) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


def _is_full(error: Exception) -> bool:
    if isinstance(error, sqlite3.OperationalError):
        return error.sqlite_errorcode in _FULL
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
