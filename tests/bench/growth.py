"""What an event costs as the data grows, and how the worker compares to a bare COPY."""

import statistics
import time
import uuid
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import click
import psycopg
from psycopg import sql

from app.batch.batch import Batch, Context, Event
from app.intake import keys, waiting
from app.intake.breaker import CircuitBreaker
from app.intake.limits import Limits
from app.intake.memory import Bounds
from app.intake.outcomes import Outcomes
from app.intake.redis_client import client_of
from app.intake.stream import Stream
from app.intake.submission import Submission
from app.store import migrate
from app.store.connections import connect
from app.store.partitions import create_partitions
from tests.bench.bytes import seen_id_bytes
from tests.bench.load import Load, run_load
from tests.bench.processes import OURS, running
from tests.bench.runs import measure

_STREAM = keys.stream(0)
_EVENTS = 5  # a batch
_SHOPS = 100
_DAYS = 60  # over which stored rows are spread, up to now

# Text of the documented size; what stands in it makes no difference to a table's indexes.
_FILL_BATCHES = f"""
INSERT INTO stored_batches (id, received_at, shop_id, client_id, session_id, current_url, context)
SELECT i, now() - interval '{_DAYS} days' * (1 - i / %(last)s::float8), 1 + i %% {_SHOPS},
    gen_random_uuid(), gen_random_uuid(), 'https://yourstore.com/products/tshirt',
    jsonb_build_object('$raw_user_agent', repeat('Mozilla/5.0 ', 12), '$host', 'yourstore.com')
FROM generate_series(%(start)s::bigint, %(end)s) AS i
"""
_FILL_EVENTS = f"""
INSERT INTO events (shop_id, occurred_at, insert_key, batch_id, event, properties)
SELECT 1 + i %% {_SHOPS}, now() - interval '{_DAYS} days' * (1 - i / %(last)s::float8),
    gen_random_uuid(), i, 'widget:button_click', '{{"product_id": "gid://shopify/Product/456"}}'
FROM generate_series(%(start)s::bigint, %(end)s) AS i, generate_series(1, {_EVENTS})
"""


def worker_against_copy(servers, folder, batches, rounds=3):
    """Events a second into Postgres from a full stream, and by COPY of the same rows, in turn."""
    figures = {"worker": [], "copy": []}
    for _ in range(rounds):
        servers.prepare()
        _fill_stream(servers, batches, shops=1)
        events = batches * _EVENTS
        figures["worker"].append(events / _drain(servers, folder, servers.database_url)["seconds"])
        figures["copy"].append(events / _copy_again(servers))
    medians = {name: statistics.median(values) for name, values in figures.items()}
    return {**figures, "ratio": medians["worker"] / medians["copy"]}


def run(servers, folder, rows):
    """Every part of `grow`; figures by name."""
    return {
        "shops": _with_shops(servers, folder),
        "dedup_bytes_per_id": seen_id_bytes(servers),
        "backlog_of_a_million": _backlog(servers, folder),
        "stored_rows": _with_stored_rows(servers, folder, rows),
    }


def soak(servers, folder, minutes):
    """Resident MB of the web process after each minute under load."""
    servers.prepare()
    with running(OURS, servers, folder) as (port, groups):
        sizes = []
        for minute in range(minutes):
            run_load(Load(events=5, seconds=57, pause=10), port, folder)
            sizes.append(round(max(groups["web"].memory()) / 1e6, 1))
            click.echo(f"minute {minute + 1}: {sizes[-1]} MB")
        return {"web_mb_by_minute": sizes}


def _with_shops(servers, folder):
    figures = {}
    for shops in (1, 100, 10_000):
        result = measure(OURS, Load(events=5, shops=shops), servers, folder)
        click.echo(f"{shops} shops: {result.cpu_total:.1f} µs an event, p99 {result.p99:.1f} ms")
        figures[shops] = asdict(result)
    return figures


def _backlog(servers, folder):
    servers.prepare()
    _fill_stream(servers, 20_000, shops=1, events=50)
    figures = _drain(servers, folder, servers.database_url)
    click.echo(f"a backlog of a million events: {figures['seconds']:.1f} s")
    return figures


def _with_stored_rows(servers, folder, rows):
    """The same backlog into a database with a million rows, and into one with `rows`, in turn."""
    databases = {size: _filled_database(servers, size) for size in (1_000_000, rows)}
    figures = {size: [] for size in databases}
    for _ in range(5):
        for size, url in databases.items():
            _fill_stream(servers, 20_000, shops=_SHOPS)
            drained = _drain(servers, folder, url)
            drained["cpu_per_event"] = drained["cpu"] / (20_000 * _EVENTS) * 1e6
            drained.update(_latency(servers, folder, url))
            figures[size].append(drained)
            click.echo(
                f"{size:,} rows stored: {drained['cpu_per_event']:.1f} µs an event, reply p50"
                f" {drained['p50']:.1f} ms, p99 {drained['p99']:.1f} ms"
            )
    costs = [
        statistics.median(each["cpu_per_event"] for each in of_size) for of_size in figures.values()
    ]
    click.echo(f"insert cost at {rows:,} rows: {costs[1] / costs[0]:.2f} times that at a million")
    return {"runs": figures, "ratio": costs[1] / costs[0]}


def _latency(servers, folder, url):
    with running(OURS, servers, folder, DATABASE_URL=url) as (port, _):
        sent = run_load(Load(events=5, seconds=3, shops=_SHOPS, pause=20), port, folder)
        _await_empty_stream(servers)
    return {"p50": sent["p50"], "p99": sent["p99"]}


def _fill_stream(servers, batches, *, shops, events=_EVENTS):
    """As the web processes would have left it."""
    stream = Stream(
        client_of(servers.redis_url, 5), Outcomes(), breaker=CircuitBreaker(), partitions=1,
        max_batches=10**9, bounds=Bounds(10**12), dedup_window=172_800, limits=Limits(),
    )  # fmt: skip
    now = datetime.now(UTC)
    columns = {"client_id": str(uuid.uuid4()), "session_id": str(uuid.uuid4())}
    context = Context(columns, b'{"$raw_user_agent":"%b"}' % (b"Mozilla/5.0 " * 30))
    for number in range(batches):
        batch = Batch.build(
            shop=f"shop-{number % shops}.myshopify.com",
            customer_id=None,
            received_at=now,
            context=context,
            events=[
                Event(
                    "widget:button_click", str(uuid.uuid4()), now - timedelta(milliseconds=number),
                    b'{"product_id":"gid://shopify/Product/456"}', b"{}",
                )
                for _ in range(events)
            ],
            rejected=[],
        )  # fmt: skip
        waiting.run(stream.append(Submission(batch)))


def _drain(servers, folder, url):
    """Seconds and processor time from the worker's first transaction to its last."""
    waiting = servers.redis.xlen(_STREAM)
    groups = {name: servers.groups[name] for name in ("redis", "postgres")}
    with running(OURS, servers, folder, DATABASE_URL=url) as (_, own):
        groups["worker"] = own["worker"]
        while servers.redis.xlen(_STREAM) == waiting:
            time.sleep(0.001)
        first, used, began = _state(servers, groups)
        _await_empty_stream(servers)
        _, used_at_end, ended = _state(servers, groups)
    # The first transaction was over when the clock began.
    share = waiting / first
    return {
        "seconds": (ended - began) * share,
        "cpu": sum(used_at_end[name] - used[name] for name in groups) * share,
    }


def _state(servers, groups):
    used = {name: group.cpu() for name, group in groups.items()}
    return servers.redis.xlen(_STREAM), used, time.monotonic()


def _await_empty_stream(servers):
    while servers.redis.xlen(_STREAM):
        time.sleep(0.005)


def _copy_again(servers):
    """Seconds for a COPY of all stored rows into the emptied tables, in one transaction."""
    with psycopg.connect(servers.database_url) as connection, connection.cursor() as cursor:
        rows = {}
        for table in ("contexts", "stored_batches", "events"):
            name = sql.Identifier(table)
            query = sql.SQL("COPY (SELECT * FROM {}) TO STDOUT").format(name)
            with cursor.copy(query) as copy:
                rows[table] = b"".join(copy)
        cursor.execute("TRUNCATE contexts, stored_batches, events")
        connection.commit()
        began = time.monotonic()
        for table, data in rows.items():
            query = sql.SQL("COPY {} FROM STDIN").format(sql.Identifier(table))
            with cursor.copy(query) as copy:
                copy.write(data)
        connection.commit()
        return time.monotonic() - began


def _filled_database(servers, rows):
    """A database of its own, its rows spread over the last days; its URL."""
    name = f"bench_{rows}"
    with psycopg.connect(servers.database_url, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    url = urlsplit(servers.database_url)._replace(path=f"/{name}").geturl()
    with connect(url, "bench") as connection:
        migrate.upgrade(connection)
        today = datetime.now(UTC).date()
        for day in range(0, _DAYS + 1, 28):
            create_partitions(connection, today - timedelta(days=day))
        connection.execute(
            "INSERT INTO shops (domain)"
            " SELECT 'shop-' || i || '.myshopify.com' FROM generate_series(0, %s) AS i",
            [_SHOPS - 1],
        )
        last, step = rows // _EVENTS, 200_000
        for start in range(1, last + 1, step):
            part = {"start": start, "end": min(start + step - 1, last), "last": last}
            connection.execute(_FILL_BATCHES, part)
            connection.execute(_FILL_EVENTS, part)
            click.echo(f"\r{min(start + step, last) * _EVENTS:,} of {rows:,} rows", nl=False)
        connection.execute("SELECT setval('batch_ids', %s)", [last])
        connection.execute("VACUUM ANALYZE")
    click.echo()
    return url
