"""Whose turn it is to drain a machine's spool, and how far that has come."""

import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.batch.batch import FORM
from app.batch.form import Form

_LAYOUT = struct.Struct("<qd3i")


class Mark:
    """The last batch that was given back and may still be in the spool, and the form of the release
    that gave it: what was newer to that one stays. It is written over in place, for which even a
    full disk has room, and outlives the process."""

    def __init__(self, file: int) -> None:
        self._file = file
        written = os.pread(file, _LAYOUT.size, 0).ljust(_LAYOUT.size, b"\0")
        self.id, self.spooled_at, *form = _LAYOUT.unpack(written)
        self.form = Form(*form)

    def set(self, id_: int, spooled_at: float) -> None:
        """OSError where the disk has no room for the first one."""
        os.pwrite(self._file, _LAYOUT.pack(id_, spooled_at, *FORM), 0)
        self.id, self.spooled_at, self.form = id_, spooled_at, FORM

    def clear(self) -> None:
        self.set(0, 0.0)


@contextmanager
def turn(path: Path) -> Iterator[Mark | None]:
    """One process of a machine drains at a time, or the order of arrival would be lost: None where
    another does, or where the spool's folder is not there yet."""
    if not path.parent.exists():
        yield None
        return
    file = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield None
    else:
        yield Mark(file)
    finally:
        os.close(file)
