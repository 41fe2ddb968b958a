"""`python -m tests.bench.spread PLAIN CITUS`: the same work on one Postgres and on a Citus.

Each address names an empty database after `flask db upgrade`, that of the Citus after
`flask db distribute`. Figures are of one connection, in turns.
"""

import time
from datetime import UTC, datetime, timedelta
from statistics import median

import click

from app.batch.batch import EVENT_COLUMNS
from app.counts.period import Period, find_shop
from app.counts.rollups import count_next
from app.dev.seed import Seed
from app.merchant.reports import report
from app.store.connections import connect
from app.store.writer import Writer

_AT_ONCE = 1_000  # batches to a transaction, as the worker's
_SHOPS = 20
_COLUMNS = ", ".join(("shop_id", *EVENT_COLUMNS, "batch_id"))


@click.command()
@click.argument("plain")
@click.argument("citus")
@click.option("--events", default=100_000, show_default=True)
@click.option("--rounds", default=3, show_default=True)
def main(plain, citus, events, rounds):
    urls = {"plain": plain, "citus": citus}
    figures = {name: {"COPY": [], "writer": [], "counting": [], "page": []} for name in urls}
    for number in range(rounds):
        batches = list(_batches(events, number))
        for name, url in urls.items():
            with connect(url, "command") as connection:
                for what, figure in _measure(connection, batches).items():
                    figures[name][what].append(figure)
    for what, unit in (("COPY", "events/s"), ("writer", "events/s"), ("counting", "events/s"),
                       ("page", "ms")):  # fmt: skip
        cells = ", ".join(f"{name} {median(figures[name][what]):,.1f}" for name in urls)
        click.echo(f"{what} ({unit}): {cells}")


def _batches(events, number):
    for shop in range(_SHOPS):
        seed = Seed(_name(shop), until=datetime.now(UTC), number=number * _SHOPS + shop)
        yield from seed.batches(events // _SHOPS, days=30)


def _measure(connection, batches):
    writer = Writer(statement_timeout=60_000)
    events = sum(len(batch.events) for batch in batches)
    rows = _rows(batches)
    figures = {"COPY": events / _timed(lambda: _copy(connection, rows))}
    parts = [batches[start : start + _AT_ONCE] for start in range(0, len(batches), _AT_ONCE)]
    seconds = _timed(lambda: [writer.write(connection, part) for part in parts])
    figures["writer"] = events / seconds
    figures["counting"] = events / _timed(lambda: _count(connection))
    shop = find_shop(connection, _name(0))
    month = Period(shop.today - timedelta(days=29), shop.today)
    ask = [_timed(lambda: report(connection, shop, month, "product")) for _ in range(20)]
    figures["page"] = 1_000 * median(ask)
    return figures


def _rows(batches):
    """Of the events alone, of as many shops, which nobody knows."""
    lines = [
        b"%d\t%b\t1\n" % (1_000_000 + place % _SHOPS, event)
        for place, batch in enumerate(batches)
        for event in batch.events
    ]
    return b"".join(lines)


def _copy(connection, rows):
    with (
        connection.transaction(force_rollback=True),
        connection.cursor().copy(f"COPY events ({_COLUMNS}) FROM STDIN") as copy,
    ):
        copy.write(rows)


def _count(connection):
    while count_next(connection):
        pass


def _timed(work):
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _name(shop):
    return f"spread-{shop}.myshopify.com"


if __name__ == "__main__":
    main()
