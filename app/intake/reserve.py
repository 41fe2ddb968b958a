"""Room on the disk that the spool holds, to be let go of for draining.

SQLite needs room to delete: the write-ahead log grows, and the checkpoint after it lets the file
grow. On a disk that is full nothing would ever leave the spool.
"""

import errno
import os
from contextlib import suppress
from pathlib import Path

_BYTES = 4 * 1024 * 1024  # more than a batch can be
_LEAST_BYTES = 64 * 1024
_SHARE = 4  # of a small disk's room, one part in so many


class Reserve:
    """A file that all processes of a machine share. Its size is what is held: 0 while it is let go
    of, and then nobody may add to the spool."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "spool.reserve"

    def held(self) -> int | None:
        """Bytes; None where it was never taken."""
        try:
            return self._path.stat().st_size
        except FileNotFoundError:
            return None

    def may_hold(self) -> int:
        """The bytes that `take` would hold; 0 where the disk has too little room for any."""
        disk = os.statvfs(self._path.parent)
        held = self.held() or 0
        wanted = max(held, min(_BYTES, (disk.f_bavail * disk.f_frsize + held) // _SHARE))
        return wanted if wanted >= _LEAST_BYTES else 0

    def take(self) -> None:
        """Hold as much as the disk's room allows. OSError where that is too little, or fails."""
        wanted, held = self.may_hold(), self.held() or 0
        if not wanted:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if wanted == held:
            return
        file = os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            # Random: a disk that compresses would keep no room for zeros.
            if os.pwrite(file, os.urandom(wanted - held), held) < wanted - held:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(file)
        except OSError:
            os.ftruncate(file, held)
            raise
        finally:
            os.close(file)

    def let_go(self) -> None:
        with suppress(FileNotFoundError):
            os.truncate(self._path, 0)
