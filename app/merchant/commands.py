"""flask report funnel|rebuild|check"""

import sys
import time
from collections.abc import Mapping
from contextlib import closing
from datetime import datetime
from typing import Any

import click
import psycopg
from psycopg import Connection
from psycopg.errors import SerializationFailure

from app import commands
from app.counts import reading
from app.counts.counting import count_announced
from app.counts.measures import SIDE_STEPS
from app.counts.period import Period, Shop, find_shop
from app.counts.plain import Plain
from app.counts.rollups import is_dirty, rebuild, recount_next, try_lock
from app.health.commands import look
from app.health.status import Status
from app.merchant import experiments
from app.merchant.database import Database
from app.merchant.groups import BREAKDOWNS, Choice
from app.merchant.language import ENGLISH, NOTHING
from app.merchant.ranges import DEFAULT, PRESETS, read_only, read_period
from app.merchant.reports import SOON, freshness
from app.merchant.reports import report as read_report
from app.merchant.words import points, time_class, took, waiting
from app.replies import Refusal
from app.store.commands import database
from config.causes import cause

_RETRY_PAUSE = 0.05  # s
_DAY = click.DateTime(["%Y-%m-%d"])
_SHOP = click.option("--shop", "domain", required=True, help="Such as your-store.myshopify.com.")
_RANGE = click.option(
    "--range",
    "range_",
    type=click.Choice(list(PRESETS)),
    default=DEFAULT,
    show_default=True,
    help="Today, or the last so many days.",
)
_FROM = click.option("--from", "first", type=_DAY, help="First day, instead of --range.")
_TO = click.option("--to", "last", type=_DAY, help="Last day, default today.")


@click.group()
def report() -> None:
    """Show, recalculate and check what merchants see."""


@report.command()
@_SHOP
@_RANGE
@_FROM
@_TO
@click.option(
    "--by",
    type=click.Choice(list(BREAKDOWNS)),
    default="product",
    show_default=True,
    help="What the groups have in common.",
)
@click.option("--only", "of", help="Of one group alone, such as device:mobile or product:4711.")
def funnel(
    domain: str,
    range_: str,
    first: datetime | None,
    last: datetime | None,
    by: str,
    of: str | None,
) -> None:
    """Show the funnel, the comparison and the groups of a shop, as its merchant sees them."""
    settings = commands.settings()
    status = look(settings)
    try:
        only = read_only({} if of is None else {"only": of})
    except Refusal as refusal:
        raise click.ClickException(refusal.message) from refusal

    def read(connection: Connection) -> tuple[Shop, Period, dict[str, Any], dict[str, Any]]:
        shop = _find(connection, domain)
        period = _period(shop, range_, first, last)
        shown = read_report(connection, shop, period, by, only=only)
        return (
            shop,
            period,
            shown,
            freshness(connection, shop, oldest_waiting=status.oldest_seconds),
        )

    with closing(Database(settings.database_url, settings.reports_database_url)) as reports:
        try:
            shop, period, shown, fresh = reports.read(read)
        except psycopg.Error as error:
            raise click.ClickException(f"Postgres does not answer: {cause(error)}") from error
    click.echo(f"{domain}  {period.first} to {period.last}, days in {shop.time_zone}")
    if only:
        click.echo(f"Only {only.by}: {_printable(shown['only']['title'] or only.value)}")
    _echo_freshness(fresh, status)
    _echo_funnel(shown["funnel"])
    if shown["waiting"]:
        click.echo(waiting(ENGLISH, shown["waiting"], shop.window_hours))
    _echo_times(shown["times"])
    _echo_uplift(shown["uplift"], shop.window_hours)
    for step in shown["side_steps"]:
        click.echo(f"{step['name']:<26}{step['visitors']:>10,}")
    click.echo(f"\nBy {by}")
    for group in shown["breakdown"]["groups"]:
        _echo_group(group["title"] or group["value"] or "not sent", group)
    if folded := shown["breakdown"]["folded"]:
        _echo_group(f"{folded['groups']} smaller ones", folded)


@report.command("rebuild")
@click.option("--shop", "domain", help="Only this shop. Default: all shops.")
@click.option("--yes", is_flag=True, help="Do not ask before all shops.")
def rebuild_(domain: str | None, yes: bool) -> None:
    """Recalculate from what is stored. Merchants see the previous numbers until a shop is done.

    Safe to repeat, and safe while workers run: they count on when this is done.
    """
    with closing(database(commands.settings())) as connection:
        shops = [
            (id_, name)
            for id_, name in connection.execute("SELECT id, domain FROM shops ORDER BY domain")
            if domain in (None, name)
        ]
        if domain and not shops:
            raise click.ClickException(f"{domain} has never sent anything.")
        if not domain:
            _confirm_all(len(shops), yes)
        for shop_id, name in shops:
            [(total,)] = connection.execute(
                "SELECT count(*) FROM events WHERE shop_id = %s", [shop_id]
            )
            try:
                with click.progressbar(length=total, label=f"{name} {total:,} events") as bar:
                    rebuild(connection, shop_id, bar.update)
            except psycopg.Error as error:
                raise click.ClickException(
                    f"Stopped at {name}, safe to repeat: {cause(error)}"
                ) from error
    click.echo(f"Shops recalculated: {len(shops)}.")


def _confirm_all(shops: int, yes: bool) -> None:
    """A script is not asked: it only reads how many there are."""
    click.echo(f"All {shops} shops are to be recalculated.", err=True)
    if not yes and sys.stdin.isatty():
        click.confirm("Go on?", abort=True)


@report.command()
@_SHOP
@_RANGE
@_FROM
@_TO
def check(domain: str, range_: str, first: datetime | None, last: datetime | None) -> None:
    """Compare the report with a plain SQL count over tracked_events. Exits with 1 if they differ.

    So are the numbers of the largest product, version, device and language. The plain count takes
    seconds to minutes. Events that are not counted yet are counted first.
    """
    with closing(database(commands.settings())) as connection:
        shop = _find(connection, domain)
        period = _period(shop, range_, first, last)
        while (both := _count_both_ways(connection, shop, period)) is None:
            recount_next(connection)
    counted, plain = both
    differing = [name for name, value in plain.items() if counted[name] != value]
    for name in differing:
        click.echo(f"{name}: the report has {counted[name]}, the plain count {plain[name]}")
    if differing:
        raise click.ClickException(
            "They differ. Days whose events are deleted by retention keep their numbers; for others"
            f" run `flask report rebuild --shop {domain}`."
        )
    click.echo(f"{len(plain)} groups of numbers are equal.")


def _count_both_ways(
    connection: Connection, shop: Shop, period: Period
) -> tuple[dict[str, object], dict[str, object]] | None:
    """The report's numbers and the plain ones, of one snapshot. None while a worker is counting."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        try:
            # What came a moment ago is counted for the comparison alone. It is rolled back, so
            # that no worker has to wait for the plain count.
            with connection.transaction(force_rollback=True):
                if is_dirty(connection, shop.id) or not try_lock(connection, shop.id):
                    time.sleep(_RETRY_PAUSE)
                    return None
                while count_announced(connection, [shop.id]):
                    pass
                counted = numbers_of(read_report(connection, shop, period, "product"))
                counted |= experiments.numbers(connection, shop)
                largest = _largest(connection, shop, period)
                for only in largest:
                    shown = read_report(connection, shop, period, only.by, only=only)
                    of_group = numbers_of(shown) | experiments.numbers(connection, shop, only)
                    counted |= _named(only, of_group)
        except SerializationFailure:
            return None
        plain = plain_numbers(connection, shop, period)
        plain |= experiments.plain_numbers(connection, shop)
        for only in largest:
            of_group = plain_numbers(connection, shop, period, only)
            of_group |= experiments.plain_numbers(connection, shop, only)
            plain |= _named(only, of_group)
        return counted, plain


def _largest(connection: Connection, shop: Shop, period: Period) -> list[Choice]:
    """The group with the most visitors of each kind."""
    return [
        Choice(by, found["groups"][0]["value"])
        for by in BREAKDOWNS
        if (found := read_report(connection, shop, period, by)["breakdown"])["groups"]
    ]


def _named(only: Choice, numbers: Mapping[str, object]) -> dict[str, object]:
    return {f"{name} of {_printable(str(only))}": value for name, value in numbers.items()}


def numbers_of(shown: Mapping[str, Any]) -> dict[str, object]:
    """A report's numbers in the form of `plain_numbers`."""
    funnel = shown["funnel"]
    medians = [None, *(step["median_seconds_to_next"] for step in funnel[:-1])]
    tried, others = shown["uplift"]["tried"], shown["uplift"]["others"]
    return {
        "funnel": [
            (step["visitors"], median) for step, median in zip(funnel, medians, strict=True)
        ],
        "times": [
            ([one["visitors"] for one in each["classes"]], each["median_seconds"])
            for each in shown["times"]
        ],
        "over": [step["over"] for step in funnel],
        "uplift": (
            *(tried[number] for number in ("visitors", "added", "added_same")),
            *(others[number] for number in ("visitors", "added")),
        ),
        "side_steps": [step["visitors"] for step in shown["side_steps"]],
        "visitors": shown["visitors"]["now"],
        "days": [
            (day["day"], day["events"], day["visitors"]) for day in shown["days"] if day["events"]
        ],
        "before": (
            shown["visitors"]["before"],
            shown["events"]["before"],
            [step["before"] for step in funnel],
            [step["before"] for step in shown["side_steps"]],
        ),
    }


def plain_numbers(
    connection: Connection, shop: Shop, period: Period, only: Choice | None = None
) -> dict[str, object]:
    def plain(period: Period, where: str = "true", began_by: datetime | None = None) -> Plain:
        return Plain(
            connection,
            shop=shop.domain,
            time_zone=shop.time_zone,
            window_hours=shop.window_hours,
            first=period.first,
            last=period.last,
            where=where,
            began_by=began_by,
            only=only,
        )

    now, over = plain(period), plain(period, began_by=shop.began_by)
    moments = reading.moments(connection, shop, period)
    until = moments.until.isoformat() if moments.until else "infinity"
    before = plain(moments.before, f"at <= '{until}'")
    funnel, times = now.funnel_and_spans()
    return {
        "funnel": funnel,
        "times": times,
        "over": [visitors for visitors, _ in over.funnel()],
        "uplift": over.uplift(),
        "side_steps": [now.visitors(event) for event in SIDE_STEPS],
        "visitors": now.visitors(),
        "days": [(day.isoformat(), events, visitors) for day, events, visitors in now.days()],
        "before": (
            before.visitors(),
            sum(events for _, events, _ in before.days()),
            [visitors for visitors, _ in before.funnel()],
            [before.visitors(event) for event in SIDE_STEPS],
        ),
    }


def _find(connection: Connection, domain: str) -> Shop:
    shop = find_shop(connection, domain)
    if shop is None:
        raise click.ClickException(f"{domain} has never sent anything.")
    return shop


def _period(shop: Shop, range_: str, first: datetime | None, last: datetime | None) -> Period:
    days = {"from": first, "to": last}
    args = {name: f"{day:%Y-%m-%d}" for name, day in days.items() if day}
    try:
        return read_period({"range": range_} | args, shop.today)
    except Refusal as refusal:
        raise click.ClickException(refusal.message) from refusal


def _echo_freshness(fresh: dict[str, Any], status: Status) -> None:
    to_store = f"{status.backlog.batches:,}" if status.backlog else "an unknown number"
    click.echo(
        f"Up to date as of {fresh['until'][:16].replace('T', ' ')}"
        f" ({fresh['waiting']:,} batches pending; all shops: {to_store} to be stored)."
    )
    if fresh["is_recounting"]:
        click.echo("Recalculating. Showing the previous numbers.")
    click.echo()


def _echo_funnel(steps: list[dict[str, Any]]) -> None:
    head = f"{'':<26}{'visitors':>10}{'of first':>10}{'of prev.':>10}{'dropped':>10}"
    click.echo(f"{head}  median to next")
    for step in steps:
        dropped = NOTHING if step["dropped"] is None else f"{step['dropped']:,}"
        click.echo(
            f"{step['name']:<26}{step['visitors']:>10,}{ENGLISH.percent(step['of_first']):>10}"
            f"{ENGLISH.percent(step['of_previous']):>10}{dropped:>10}"
            f"  {ENGLISH.duration(step['median_seconds_to_next'])}"
        )


def _echo_times(times: list[dict[str, Any]]) -> None:
    for time_ in times:
        click.echo(f"\n{time_['name']}\n{took(ENGLISH, time_, SOON)}")
        for one in time_["classes"] if time_["visitors"] else ():
            name = time_class(ENGLISH, one["from_seconds"], one["to_seconds"])
            click.echo(f"{name:<26}{one['visitors']:>10,}{ENGLISH.percent(one['share']):>10}")


def _echo_uplift(uplift: dict[str, Any], hours: int) -> None:
    tried, others = uplift["tried"], uplift["others"]
    rate, other = ENGLISH.percent(tried["rate"]), ENGLISH.percent(others["rate"])
    click.echo(
        f"\nAdded to cart: {rate} of {tried['visitors']:,} who saw a result,"
        f" {other} of {others['visitors']:,} who saw the product page only"
    )
    if uplift["low"] is not None:
        interval = f"{points(ENGLISH, uplift['low'])} to {points(ENGLISH, uplift['high'])}"
        click.echo(f"Difference: {points(ENGLISH, uplift['difference'])}, 95% interval {interval}")
    click.echo(f"{uplift['words']}\n{uplift['caveat']}")
    if uplift["waiting"]:
        click.echo(waiting(ENGLISH, uplift["waiting"], hours))
    click.echo()


def _echo_group(name: str, group: dict[str, Any]) -> None:
    click.echo(
        f"{_printable(name)[:40]:<40}{group['visitors']:>9,}  {' '.join(map(str, group['steps']))}"
    )


def _printable(text: str) -> str:
    """What a shopper's browser sent must not steer the terminal."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
