"""What is kept of single visitors goes when retention has deleted their events."""

from collections import defaultdict
from datetime import datetime

from psycopg import Connection

from app.counts import dimensions, journeys


def forget_before(connection: Connection, partitions_begin: datetime) -> int:
    """Of how many visitors. The caller's transaction holds the lock."""
    oldest = int(partitions_begin.timestamp() * 1_000_000)
    stored = _stored_in_default(connection, partitions_begin)
    forgotten = 0
    for some in journeys.read_all(connection):
        kept = {}
        for visitor, events in some:
            if not events or events[0].at >= oldest:
                continue
            still = stored[visitor]
            remaining = [e for e in events if e.at >= oldest or e.at in still]
            if len(remaining) < len(events):
                kept[visitor] = remaining
        journeys.write(connection, kept)
        forgotten += len(kept)
    return forgotten


def _stored_in_default(
    connection: Connection, before: datetime
) -> defaultdict[journeys.Visitor, set[int]]:
    """When each visitor's events happened, in microseconds."""
    stored: defaultdict[journeys.Visitor, set[int]] = defaultdict(set)
    rows = connection.execute(
        f"SELECT b.shop_id, {dimensions.VISITOR_KEY},"
        " (extract(epoch FROM e.occurred_at) * 1000000)::bigint FROM events_default e"
        " JOIN batches b ON b.shop_id = e.shop_id AND b.id = e.batch_id"
        " WHERE e.occurred_at < %s".encode(),
        [before],
    )
    for shop_id, visitor, at in rows:
        stored[shop_id, visitor].add(at)
    return stored
