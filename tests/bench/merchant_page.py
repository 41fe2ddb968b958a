"""How fast a merchant's page is with millions of events, beside a plain count of the same.

    python -m tests.bench.merchant_page --events 5000000

fills a database of its own (once, it takes minutes), then asks for the page while events go on
being stored and counted, and prints what it has measured.
"""

import multiprocessing
import random
import statistics
import time
from collections import defaultdict
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import click

from app import create_app
from app.counts.period import Period, find_shop
from app.counts.plain import Plain
from app.counts.rollups import count_new
from app.dev.seed import Seed
from app.dev.servers import postgres, valkey
from app.merchant.commands import plain_numbers
from app.merchant.groups import BREAKDOWNS
from app.merchant.ranges import PRESETS
from app.shopify.session_token import make_token
from app.store import migrate
from app.store.connections import connect
from app.store.partitions import create_partitions
from app.store.writer import Writer
from config.settings import Settings

SHOP = "bench.myshopify.com"
KEY, SECRET = "bench", "bench-secret-of-thirty-two-bytes!"
DAYS = 90


def fill(connection, events):
    """Store and count about so many events of the last 90 days, where there are none yet."""
    migrate.upgrade(connection)
    for back in range(0, DAYS + 60, 28):
        create_partitions(connection, (datetime.now(UTC) - timedelta(days=back)).date())
    if connection.execute("SELECT 1 FROM events LIMIT 1").fetchone():
        return
    writer = Writer(statement_timeout=600_000)
    batches = Seed(SHOP, until=datetime.now(UTC), products=500).batches(events, days=DAYS)
    storing = counting = stored = 0
    while together := list(islice(batches, 2_000)):
        started = time.monotonic()
        stored += writer.write(connection, together)
        between = time.monotonic()
        while count_new(connection):
            pass
        storing += between - started
        counting += time.monotonic() - between
    click.echo(f"{stored:,} events: stored in {storing:.0f} s, counted in {counting:.0f} s")
    connection.execute("VACUUM ANALYZE")


def go_on(url, rate):
    """Store and count about `rate` new events a second until the process is ended."""
    writer = Writer(statement_timeout=600_000)
    now = datetime.now(UTC)
    yesterday = (now - timedelta(days=1)).replace(hour=23, minute=59)
    batches = Seed(SHOP, until=yesterday, products=500, number=int(now.timestamp())).batches(
        100_000_000, days=1
    )
    with connect(url, "bench") as connection:
        while True:
            started = time.monotonic()
            writer.write(connection, list(islice(batches, rate // 2)))  # 2 events to a batch
            count_new(connection)
            time.sleep(max(0, 1 - (time.monotonic() - started)))


def ask(app, views, only):
    """Milliseconds of each view of the page, by its range; of some of the filters, or of none."""
    client = app.test_client()
    taken = defaultdict(list)
    for _ in range(views):
        range_, by = random.choice(list(PRESETS)), random.choice(list(BREAKDOWNS))
        token = make_token(SHOP, KEY, SECRET.encode(), now=time.time(), lifetime=60)
        started = time.perf_counter()
        reply = client.get(
            "/app",
            query_string={"range": range_, "by": by} | random.choice(only),
            headers={"Authorization": f"Bearer {token}"},
        )
        taken[range_].append(1000 * (time.perf_counter() - started))
        assert reply.status_code == 200, reply.text
    return taken


def plainly(connection, shop, period):
    """Seconds for the funnel alone, and for all that the page has."""
    plain = Plain(connection, shop=SHOP, time_zone=shop.time_zone,
                  window_hours=shop.window_hours, first=period.first, last=period.last)  # fmt: skip
    started = time.monotonic()
    plain.funnel()
    funnel = time.monotonic() - started
    plain_numbers(connection, shop, period)
    return funnel, time.monotonic() - started - funnel


@click.command()
@click.option("--events", default=5_000_000, show_default=True)
@click.option("--views", default=400, show_default=True)
@click.option("--rate", default=300, show_default=True, help="Events a second beside it.")
@click.option("--data", default=".dev/bench-reports", type=click.Path(path_type=Path))
@click.option("--only", multiple=True, help="Views with filters alone, such as device:mobile.")
@click.option("--skip-plain", is_flag=True, help="Leave out the plain count.")
def main(events, views, rate, data, only, skip_plain):
    data = data.resolve()
    with (
        postgres(data / "postgres") as url,
        valkey(data / "valkey") as redis_url,
        closing(connect(url, "bench")) as connection,
    ):
        fill(connection, events)
        app = create_app(
            Settings(
                database_url=url,
                redis_url=redis_url,
                shopify_api_key=KEY,
                shopify_api_secrets=(SECRET.encode(),),
                spool_dir=str(data / "spool"),
            )
        )
        taken = measure(app, url, views, rate, [{"only": one} for one in only] or [{}])
        app.extensions["intake"].close()
        app.extensions["reports"].close()
        if not skip_plain:
            compare(connection, statistics.median(taken["90"]) / 1000)


def measure(app, url, views, rate, only):
    ask(app, 20, only)  # the first ones find cold caches
    beside = multiprocessing.get_context("spawn").Process(
        target=go_on, args=(url, rate), daemon=True
    )
    beside.start()
    time.sleep(3)
    taken = ask(app, views, only)
    beside.terminate()
    beside.join()
    everything = [one for views in taken.values() for one in views]
    for name, numbers in [*sorted(taken.items()), ("any", everything)]:
        p99 = statistics.quantiles(numbers, n=100)[98]
        click.echo(
            f"{name:>6}: {len(numbers)} pages, median {statistics.median(numbers):.0f} ms,"
            f" p99 {p99:.0f} ms, beside {rate} events/s"
        )
    return taken


def compare(connection, median):
    today = datetime.now(UTC).date()
    shop = find_shop(connection, SHOP)
    funnel, all_of_it = plainly(connection, shop, Period(today - timedelta(days=89), today))
    click.echo(
        f"90 days counted plainly: the funnel {funnel:.1f} s, {funnel / median:.0f} times the page;"
        f" all of it {all_of_it:.1f} s, {all_of_it / median:.0f} times"
    )


if __name__ == "__main__":
    main()
