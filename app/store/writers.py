"""Who is writing just now: what they write is not to be seen yet."""

import time

from psycopg import Connection

_WRITERS_TIMEOUT = 30.0  # s
_POLL = 0.02  # s
_NAMES = ["genlook web", "genlook worker", "genlook command"]


class WritersBusy(Exception):
    """A transaction that has begun does not end."""


def ends(connection: Connection) -> tuple[int, int]:
    """The highest numbers of a batch and of a rejected event that anybody has drawn."""
    [(batch, rejected_event)] = connection.execute(
        "SELECT coalesce(pg_sequence_last_value('batch_ids'), 0),"
        " coalesce(pg_sequence_last_value(pg_get_serial_sequence('rejected_events', 'id')), 0)"
    )
    return batch, rejected_event


def wait_for_writers(connection: Connection) -> None:
    """Return when every transaction has ended that had begun. WritersBusy."""
    [(started,)] = connection.execute("SELECT clock_timestamp()")
    deadline = time.monotonic() + _WRITERS_TIMEOUT
    while connection.execute(
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid() AND application_name = ANY(%s) AND xact_start < %s LIMIT 1",
        [_NAMES, started],
    ).fetchone():
        if time.monotonic() > deadline:
            raise WritersBusy
        time.sleep(_POLL)
