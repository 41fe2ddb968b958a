"""flask status, flask check"""

import sys
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import click

from app import commands
from app.batch.json import dump_json
from app.health.check import FIX, check
from app.health.status import Status, Waiting, gather
from app.intake.nodes import Nodes
from app.intake.redis_client import worker_client
from app.intake.spool import Spool
from app.store.connections import connect
from config.settings import Settings

_JSON = click.option("--json", "as_json", is_flag=True, help="As JSON; the names are stable.")


@click.command()
@_JSON
def status(as_json: bool) -> None:
    """Show how the system is: servers, backlog, spool, workers, outcomes, skipped journals.

    The spool is the one of this machine (SPOOL_DIR). Exit code 1 where no batch could be taken.

    With --json, one object: `can_take`, and what /readyz and the table above have, `postgres`,
    `redis`, `backlog` and `spool` ({batches, oldest_seconds}), `consumers` ({name, pending,
    idle_seconds}), `newer_batches` (of a newer release, which wait for its worker), `paused`
    (seconds by journal), `outcomes` and `outcomes_of_day` (events by what became of them). Null
    stands for what Redis does not tell.
    """
    settings = commands.settings()
    found = look(settings)
    can_take = found.can_take(settings.intake)
    if as_json:
        click.echo(dump_json({"can_take": can_take, **found.as_dict()}, indented=True))
    else:
        for name, value in _rows(found):
            click.echo(f"{name:<12} {value}")
    if not can_take:
        click.echo("No batch could be taken: callers get NOT_STORED.", err=True)
        sys.exit(1)


@click.command("check")
@_JSON
def check_(as_json: bool) -> None:
    """Check settings, servers, worker and spool, and say how to put right what is wrong.

    One finding a line; exit code 1 where something must be put right. Run it after every change.

    With --json, a list of {level, subject, text}; `level` is ok, warn or fix.
    """
    findings = list(check(commands.settings()))
    if as_json:
        click.echo(dump_json([asdict(finding) for finding in findings], indented=True))
    for finding in findings if not as_json else ():
        click.echo(f"{finding.level:<5} {finding.subject:<9} {finding.text}")
    if any(finding.level == FIX for finding in findings):
        sys.exit(1)


def look(settings: Settings) -> Status:
    """From this machine, with its spool."""
    spool = Spool(Path(settings.spool_dir), max_bytes=settings.spool_max_bytes)

    def ask_postgres() -> None:
        connect(settings.database_url, "command").close()

    with closing(Nodes(worker_client(settings))) as nodes, closing(spool):
        return gather(nodes, ask_postgres, spool)


def _rows(found: Status) -> list[tuple[str, str]]:
    rows = [("postgres", found.postgres), ("redis", found.redis)]
    if found.redis == "up":
        full = ", full" if found.redis_is_full else ""
        rows[-1] = ("redis", f"up, {found.redis_risk or 'keeps an append-only file'}{full}")
    rows.append(("backlog", _waiting(found.backlog) if found.backlog else "not known"))
    rows.append(("spool", _waiting(found.spool) + ("" if found.spool_has_room else ", no room")))
    rows += [
        ("worker", f"{one['name']}, seen {one['idle_seconds']:.0f} s ago, holds {one['pending']}")
        for one in found.consumers
    ] or [("worker", "none is running")]
    if found.newer_batches:
        text = f"{found.newer_batches} batches of a newer release wait for its worker"
        rows.append(("newer", text))
    rows += [
        ("skipped", f"{journal}, failing for {seconds:.0f} s")
        for journal, seconds in found.paused.items()
    ]
    rows += [
        ("last day", f"{number} {name}") for name, number in sorted(found.outcomes_of_day.items())
    ]
    return rows


def _waiting(waiting: Waiting) -> str:
    if not waiting.batches:
        return "empty"
    return f"{waiting.batches} batches, the oldest for {waiting.oldest_seconds or 0:.0f} s"
