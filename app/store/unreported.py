"""Which batches are stored and not yet in the merchants' reports.

One row for each transaction, written within it: nothing is added for an event.
"""

from collections.abc import Iterable, Sequence

from psycopg import Connection

from app.intake.batch import Batch


def announce(connection: Connection, batches: Sequence[tuple[int, Batch]]) -> list[int]:
    """New ids for the batches (with their shops' ids), which the reports count once committed."""
    spans = [_span(batch.events) for _, batch in batches]
    row = connection.execute(
        "INSERT INTO unreported_batches (batch_ids, shop_ids, first_at, last_at)"
        " SELECT array_agg(nextval('batch_ids')), %s::integer[], %s::timestamptz[],"
        " %s::timestamptz[] FROM generate_series(1, %s) RETURNING batch_ids",
        [
            _array(b"%d" % shop_id for shop_id, _ in batches),
            _array(first for first, _ in spans),
            _array(last for _, last in spans),
            len(batches),
        ],
    ).fetchone()
    ids: list[int] = row[0] if row else []
    return ids


def _array(values: Iterable[bytes]) -> str:
    """Of numbers or times, which need no quotes; psycopg would look at each."""
    return "{" + b",".join(values).decode() + "}"


def _span(lines: Iterable[bytes]) -> tuple[bytes, bytes]:
    """The first and the last `occurred_at`, which a line begins with: ISO 8601 in UTC."""
    return min(lines).partition(b"\t")[0], max(lines).partition(b"\t")[0]
