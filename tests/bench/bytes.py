"""What an event of ordinary visits takes on disk, and an id and a batch in Redis."""

import uuid
from contextlib import closing
from datetime import UTC, datetime

import click

from app.counts import rollups
from app.store.connections import connect
from app.store.partitions import create_partitions
from app.store.writer import Writer
from tests.bench.visits import visits

_TABLES = """
SELECT relname, pg_relation_size(oid), pg_indexes_size(oid),
    pg_total_relation_size(oid) - pg_relation_size(oid) - pg_indexes_size(oid)
FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
AND relname ~ '^(events_|stored_batches|contexts|report_visitors|report_counts)'
AND pg_relation_size(oid) > 0 ORDER BY pg_total_relation_size(oid) DESC
"""
_WITHIN = 60 * 60  # s
_AT_ONCE = 500  # batches a transaction
_IDS = 200_000


def measure(servers, visitors):
    """Stores and counts the visits, three batches each, with all that our tracker sends; bytes an
    event by table."""
    servers.prepare()
    batches = visits(visitors, batches=3, within=_WITHIN, whole=True)
    events = sum(len(batch.events) for batch in batches)
    with closing(connect(servers.database_url, "bench")) as connection:
        create_partitions(connection, datetime.now(UTC).date())
        writer = Writer(statement_timeout=600_000)
        for start in range(0, len(batches), _AT_ONCE):
            writer.write(connection, batches[start : start + _AT_ONCE])
            while rollups.count_new(connection):
                pass
        connection.execute("VACUUM ANALYZE")
        sizes = connection.execute(_TABLES).fetchall()
    click.echo("| bytes an event | rows | indexes | TOAST and maps | all |")
    click.echo("| --- | --- | --- | --- | --- |")
    sizes.append(("all", *(sum(column) for column in list(zip(*sizes, strict=True))[1:])))
    by_table = {}
    for name, *parts in sizes:
        each = [part / events for part in (*parts, sum(parts))]
        click.echo(f"| {name} | {' | '.join(f'{size:.1f}' for size in each)} |")
        by_table[name] = each[-1]
    return {
        "events": events,
        "disk_bytes_an_event": by_table,
        "seen_id_bytes": seen_id_bytes(servers),
        "waiting_batch_bytes": _waiting_batch_bytes(servers, batches[:10_000]),
    }


def seen_id_bytes(servers):
    """In Redis, as the intake keeps them."""
    servers.prepare()
    key = "dedup"
    for _ in range(_IDS // 1000):
        servers.redis.sadd(key, *(uuid.uuid4().bytes for _ in range(1000)))
    size = servers.redis.memory_usage(key, samples=0) / _IDS
    click.echo(f"a seen id: {size:.0f} bytes in Redis")
    servers.redis.delete(key)
    return size


def _waiting_batch_bytes(servers, batches):
    with servers.redis.pipeline(transaction=False) as pipeline:
        for batch in batches:
            pipeline.xadd("waiting", batch.to_entry() | {b"news": batch.news})
        pipeline.execute()
    size = servers.redis.memory_usage("waiting", samples=0) / len(batches)
    click.echo(f"a batch that waits: {size:.0f} bytes in Redis")
    servers.redis.delete("waiting")
    return size
