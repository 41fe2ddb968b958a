"""What is kept of single visitors goes when retention has deleted their events."""

from collections import defaultdict
from datetime import datetime, timedelta

from psycopg import Connection

from app.counts import dimensions, experiments, journeys, titles
from app.counts.period import LONGEST

# Numbers of days stay as long as a report that ends today can compare with them.
_SHOWN = timedelta(days=2 * LONGEST)

# But those of which something is stored still.
_DELETE_DAYS = """
    DELETE FROM report_counts WHERE shop_id = %(shop)s AND day < (least(%(before)s, (
        SELECT min(occurred_at) FROM events_default WHERE shop_id = %(shop)s
    )) - interval '1 day')::date - date '1970-01-01'"""


# Their numbers stay where the shop is counted anew; those of a day that is stored in part as well.
_KEEP_DAYS = """
    INSERT INTO report_kept (shop_id, before)
    SELECT shops.id, (%(before)s::timestamptz AT TIME ZONE coalesce(time_zone, 'UTC')
        + interval '1 day' - interval '1 microsecond')::date - date '1970-01-01'
    FROM shops LEFT JOIN report_shops ON shop_id = shops.id WHERE shops.id = %(shop)s
    ON CONFLICT (shop_id) DO UPDATE SET before = greatest(report_kept.before, excluded.before)"""


def forget_before(connection: Connection, shop_id: int, partitions_begin: datetime) -> int:
    """Of how many visitors. The caller's transaction holds the shop's lock."""
    before = partitions_begin - _SHOWN
    connection.execute(_DELETE_DAYS.encode(), {"shop": shop_id, "before": before})
    titles.forget(connection, shop_id, before)
    oldest = int(partitions_begin.timestamp() * 1_000_000)
    stored = _stored_in_default(connection, shop_id, partitions_begin)
    forgotten = 0
    for some in journeys.read_older(connection, shop_id, oldest):
        kept = {}
        for visitor, packed in some:
            still, events = stored[visitor[1]], journeys.unpack(packed)
            remaining = [e for e in events if e.at >= oldest or e.at in still]
            if len(remaining) < len(events):
                kept[visitor] = journeys.pack(remaining)
        journeys.write(connection, kept, known=kept)
        experiments.forget(connection, kept)
        forgotten += len(kept)
    if forgotten:
        connection.execute(_KEEP_DAYS.encode(), {"shop": shop_id, "before": partitions_begin})
    return forgotten


def _stored_in_default(
    connection: Connection, shop_id: int, before: datetime
) -> defaultdict[str, set[int]]:
    """When each visitor's events happened, in microseconds."""
    stored: defaultdict[str, set[int]] = defaultdict(set)
    rows = connection.execute(
        f"SELECT {dimensions.VISITOR_KEY},"
        " (extract(epoch FROM e.occurred_at) * 1000000)::bigint FROM events_default e"
        " JOIN batches b ON b.shop_id = e.shop_id AND b.id = e.batch_id"
        " WHERE e.shop_id = %s AND e.occurred_at < %s".encode(),
        [shop_id, before],
    )
    for visitor, at in rows:
        if visitor is not None:
            stored[visitor.hex].add(at)
    return stored
