"""Which batches are stored and not yet in the merchants' reports.

One row for each transaction, written within it, with mostly one span of time for each batch:
nothing is added for an event.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from psycopg import Connection

from app.batch.batch import Batch

_HOUR = len(b"2024-01-15T10")
_Span = tuple[bytes, bytes]  # the first and the last `occurred_at`: ISO 8601 in UTC


def enqueue_for_reports(connection: Connection, batches: Sequence[tuple[int, Batch]]) -> list[int]:
    """New ids for the batches (with their shops' ids), which the reports count once committed."""
    spans = [_spans(batch.events) for _, batch in batches]
    # Which batch each span belongs to, from 1; as many spans as batches need no telling.
    numbers = [number for number, own in enumerate(spans, start=1) for _ in own]
    shop_ids = [batches[number - 1][0] for number in numbers]
    row = connection.execute(
        "WITH fresh AS MATERIALIZED ("
        " SELECT array_agg(nextval('batch_ids')) AS ids FROM generate_series(1, %s)"
        ") INSERT INTO unreported_batches (batch_ids, shop_ids, first_at, last_at)"
        " SELECT coalesce((SELECT array_agg(ids[number] ORDER BY place)"
        " FROM unnest(%s::integer[]) WITH ORDINALITY AS of_span (number, place)), ids),"
        " %s::integer[], %s::timestamptz[], %s::timestamptz[] FROM fresh RETURNING batch_ids",
        [
            len(batches),
            _array(b"%d" % number for number in numbers) if len(numbers) > len(batches) else None,
            _array(b"%d" % shop_id for shop_id in shop_ids),
            _array(first for own in spans for first, _ in own),
            _array(last for own in spans for _, last in own),
        ],
    ).fetchone()
    return list(dict.fromkeys(row[0])) if row else []


def _array(values: Iterable[bytes]) -> str:
    """Of numbers or times, which need no quotes; psycopg would look at each."""
    return "{" + b",".join(values).decode() + "}"


def _spans(lines: Iterable[bytes]) -> list[_Span]:
    """The time that a batch's events take, which a line begins with. Events of different hours have
    spans of their own: nobody reads the years between a batch's old event and its new one."""
    first, last = min(lines), max(lines)
    if first[:_HOUR] == last[:_HOUR]:
        return [(_time(first), _time(last))]
    by_hour = defaultdict(list)
    for line in lines:
        by_hour[line[:_HOUR]].append(_time(line))
    return [(min(times), max(times)) for times in by_hour.values()]


def _time(line: bytes) -> bytes:
    return line.partition(b"\t")[0]
