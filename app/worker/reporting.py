"""Keeps the merchants' reports up to date, beside the storing."""

from collections.abc import Callable

from psycopg import Connection

from app.counts.rollups import count_next, recount_next
from app.worker.duty import Duty, OwnConnection

EVERY = 1.0  # s
# Visits come in several small batches, which are counted together: of a shop that is quiet for a
# while what it has sent, of a busy one what has come within a longer time.
_QUIET, _LONGEST = 2.0, 4.0  # s


class _Counting(Duty):
    first_pause = longest_pause = 10.0

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._own = OwnConnection(connect)

    def let_go(self) -> None:
        self._own.close()


class Reporting(_Counting):
    """Counts what is new. Several workers count different shops; a fault here never holds the
    storing up."""

    name = "reporting"

    def step(self) -> float:
        return 0.0 if count_next(self._own.get(), quiet=_QUIET, longest=_LONGEST) else EVERY


class Recounting(_Counting):
    """Counts whole shops and visitors again, while the reporting of other shops goes on."""

    name = "recounting"

    def step(self) -> float:
        return 0.0 if recount_next(self._own.get()) else EVERY
