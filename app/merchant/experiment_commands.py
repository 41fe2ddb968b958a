"""flask experiment start|stop|show"""

import json
from contextlib import closing
from typing import Any

import click

from app import commands
from app.counts.period import find_shop
from app.merchant import experiments
from app.merchant.language import ENGLISH
from app.replies import Refusal
from app.shopify.domain import is_shop
from app.store.commands import database

_SHOP = click.option("--shop", "domain", required=True, help="Such as your-store.myshopify.com.")


@click.group()
def experiment() -> None:
    """Hold the widget back from some visitors, and see what it causes."""


@experiment.command()
@_SHOP
@click.option("--share", type=int, default=10, show_default=True, help="Percent, 1 to 50.")
@click.option("--start", "begins", help="Such as 2026-12-01T00:00:00+01:00. Default: now.")
@click.option("--end", "ends", help="The same. Default: until it is stopped.")
@click.option("--salt", help="What visitors are drawn by. Default: a new one.")
def start(domain: str, share: int, begins: str | None, ends: str | None, salt: str | None) -> None:
    """Start an experiment. What runs with another share ends where this one begins."""
    _check(domain)
    with closing(database(commands.settings())) as connection, connection.transaction():
        try:
            started = experiments.start(
                connection, domain, share=share, begins=begins, ends=ends, salt=salt
            )
        except Refusal as refusal:
            raise click.ClickException(refusal.message) from refusal
    click.echo(
        f"{domain}: {started.share} % are held back from {started.start:%Y-%m-%d %H:%M %Z} on,"
        f" salt {started.salt}."
    )


@experiment.command()
@_SHOP
def stop(domain: str) -> None:
    """Stop the experiment that runs. Its numbers stay."""
    _check(domain)
    with closing(database(commands.settings())) as connection, connection.transaction():
        stopped = experiments.stop(connection, domain)
    click.echo(f"{domain}: {'stopped' if stopped else 'none has begun'}.")


@experiment.command()
@_SHOP
@click.option("--share", type=click.IntRange(1, 50), help="Also plan with this share.")
@click.option("--json", "as_json", is_flag=True, help="All of it, as the API has it.")
def show(domain: str, share: int | None, as_json: bool) -> None:
    """Show the experiment's answer and numbers, or what one could show by when."""
    with closing(database(commands.settings())) as connection:
        shop = find_shop(connection, domain)
        if shop is None:
            raise click.ClickException(f"{domain} has never sent anything.")
        shown = experiments.show(connection, shop, share=share)
    if as_json:
        click.echo(json.dumps(shown, indent=2))
        return
    if latest := shown["experiment"]:
        _echo_experiment(latest)
    else:
        click.echo("No experiment.")
    if share or not (latest and latest["is_running"]):
        _echo_plan(shown["plan"])


def _check(domain: str) -> None:
    if not is_shop(domain):
        raise click.ClickException(f"{domain} is no shop such as your-store.myshopify.com.")


def _echo_experiment(shown: dict[str, Any]) -> None:
    click.echo(shown["answer"])
    until = f" to {shown['end'][:16]}" if shown["end"] else " on"
    click.echo(f"\n{shown['share']} % held back from {shown['start'][:16]}{until}")
    for name in ("widget", "holdout"):
        arm = shown[name]
        click.echo(
            f"{name:<10}{arm['visitors']:>10,} visitors{arm['added']:>10,} added"
            f"{ENGLISH.percent(arm['rate']):>10}{arm['waiting']:>10,} within their window"
        )
    for check in shown["checks"]:
        click.echo(f"{'ok ' if check['ok'] else 'BAD'} {check['words']}")


def _echo_plan(plan: dict[str, Any]) -> None:
    if not plan["shares"]:
        click.echo("\nNobody has added to the cart in the last 28 days: nothing to plan by.")
        return
    click.echo(
        f"\nSmallest rise that would show, in points, with {plan['visitors_per_day']:,.0f} new"
        f" visitors a day of whom {ENGLISH.percent(plan['rate'])} add to the cart:"
    )
    looks = plan["shares"][0]["shows"]
    click.echo(f"{'held back':<10}" + "".join(f"{look['by']:>12}" for look in looks))
    for one in plan["shares"]:
        found = [look["difference"] for look in one["shows"]]
        cells = "".join(f"{'-' if d is None else f'{100 * d:.2f}':>12}" for d in found)
        click.echo(f"{one['share']:>7} %  {cells}".rstrip())
