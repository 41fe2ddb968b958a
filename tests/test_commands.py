"""What the commands of `flask` say: results to stdout, the rest beside."""

from datetime import UTC, datetime, timedelta

import click
import psycopg
import pytest
from click.testing import CliRunner
from flask import Flask

from app import cli, commands
from app.merchant.commands import report
from app.merchant.experiment_commands import experiment
from app.privacy import requests
from app.privacy.commands import _state, privacy
from app.store.commands import db
from tests.calls import SHOP
from tests.counts.histories import ADDED, CART_ADD, NOON, PAGE, batch, count_all, store, visit
from tests.processes.running import environment

DAY = NOON.date().isoformat()


def all_commands():
    app = Flask("any")
    cli.init_app(app)

    def below(name, command):
        yield name, command
        for sub, one in getattr(command, "commands", {}).items():
            yield from below(f"{name} {sub}", one)

    own = {"db", "worker", "report", "experiment", "rejected", "privacy", "status", "check", "dev",
           "sign"}  # fmt: skip
    for name in sorted(own):
        yield from below(name, app.cli.commands[name])


COMMANDS = dict(all_commands())


def test_these_are_the_commands():
    assert sorted(COMMANDS) == [
        "check", "db", "db backup", "db distribute", "db maintain", "db restore", "db status",
        "db upgrade", "dev",
        "experiment", "experiment show", "experiment start", "experiment stop", "privacy",
        "privacy erase", "privacy export", "privacy list", "privacy retry", "rejected",
        "rejected list", "rejected replay", "rejected show", "report", "report check",
        "report funnel", "report rebuild", "sign", "status", "worker",
    ]  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_and_option_says_what_it_is_for(name):
    assert COMMANDS[name].help
    for option in COMMANDS[name].params:
        if isinstance(option, click.Option):
            assert option.help, option.name
            if option.default and not option.is_flag and isinstance(option.default, str | int):
                assert option.show_default or name == "sign", option.name


def test_defaults_and_what_must_be_named():
    """Whoever has put a command into a script relies on both."""

    def of(option):
        default = option.get_default(click.Context(click.Command("any")))
        return None if type(default).__name__ == "Sentinel" else default

    defaults = {
        f"{name} {option.opts[0]}": of(option)
        for name, command in COMMANDS.items()
        for option in command.params
        if isinstance(option, click.Option) and of(option) and name not in ("dev", "sign")
    }
    assert defaults == {
        "rejected list --limit": 50,
        "rejected replay --limit": 10_000,
        "report funnel --range": "28",
        "report funnel --by": "product",
        "report check --range": "28",
        "experiment start --share": 10,
    }
    required = {
        f"{name} {option.opts[0]}"
        for name, command in COMMANDS.items()
        for option in command.params
        if option.required and name not in ("dev", "sign")
    }
    assert required == {
        "db backup file", "db restore file", "rejected show id_", "privacy export id_",
        "privacy retry id_", "privacy erase --shop", "report funnel --shop", "report check --shop",
        "experiment start --shop", "experiment stop --shop", "experiment show --shop",
    }  # fmt: skip


@pytest.fixture
def run(settings, database, monkeypatch):
    """Runs a command in this process."""
    monkeypatch.setattr("config.logs.configure", lambda *_: None)
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)
    return lambda group, *words: CliRunner().invoke(group, words)


def lines(text):
    return [" ".join(line.split()) for line in text.splitlines()]


def test_progress_is_told_once_a_second_beside_the_result(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("app.commands.time.monotonic", lambda: now[0])

    @click.command()
    def work():
        step = commands.progress()
        for seconds, number in ((0.9, 5), (1.1, 7), (1.5, 1), (2.2, 2)):
            now[0] = 100.0 + seconds
            step("events", number)
        click.echo("done")

    result = CliRunner().invoke(work)
    assert result.stdout == "done\n"
    assert result.stderr == "events: 12 rows so far\nevents: 15 rows so far\n"


@pytest.mark.parametrize(
    ("type_", "good", "bad"),
    [(commands.ID, (1, 2**63 - 1), (0, 2**63)), (commands.LIMIT, (1, 2**31 - 1), (0, 2**31))],
)
def test_numbers_have_the_bounds_of_the_columns(type_, good, bad):
    assert [type_.convert(str(number), None, None) for number in good] == list(good)
    for number in bad:
        with pytest.raises(click.BadParameter):
            type_.convert(str(number), None, None)


# The report.


def test_the_funnel_of_a_shop_in_a_terminal(run, database):
    database.execute("INSERT INTO report_titles VALUES (1, 'p2', 'Shirt \x1b[31m', now())")
    store(
        database,
        visit("a", 7, product_id="p1"), visit("b", 5, product_id="p2"),
        visit("c", 1, product_id=""), batch("d", (PAGE, 0), (CART_ADD, 5), product_id="p1"),
    )  # fmt: skip
    count_all(database)
    result = run(report, "funnel", "--shop", SHOP, "--from", DAY, "--to", DAY)
    shown = lines(result.stdout)
    assert shown[0] == f"{SHOP} {DAY} to {DAY}, days in UTC"
    assert shown[1].startswith("Up to date as of 20")
    assert shown[1].endswith("(0 batches pending; all shops: 0 to be stored).")
    assert shown[2:5] == [
        "",
        "visitors of first of prev. dropped median to next",
        "Product page viewed 4 100.0% – 2 1 min",
    ]
    assert "Result viewed 2 50.0% 100.0% 1 1 min" in shown
    rates = "50.0% of 2 who saw a result, 50.0% of 2 who saw the product page only"
    assert f"Added to cart: {rates}" in shown
    groups = shown[shown.index("By product") + 1 :]
    assert sorted(groups) == [
        "Shirt \N{REPLACEMENT CHARACTER}[31m 1 1 1 1 1 1 0 0",
        "not sent 1 1 0 0 0 0 0 0", "p1 2 2 1 1 1 1 1 1",
    ]  # fmt: skip
    by = run(report, "funnel", "--shop", SHOP, "--from", DAY, "--to", DAY, "--by", "device")
    assert lines(by.stdout)[-2:] == ["By device", "not sent 4 4 2 2 2 2 1 1"]


def test_groups_beyond_the_tenth_are_folded(run, database):
    store(database, *(visit(f"v{n}", 1, product_id=f"p{n:02}") for n in range(13)))
    count_all(database)
    shown = run(report, "funnel", "--shop", SHOP, "--from", DAY, "--to", DAY).stdout
    assert lines(shown)[-1] == "3 smaller ones 3 3 0 0 0 0 0 0"


def test_a_difference_is_named_and_a_rebuild_says_what_it_does(run, database):
    store(database, visit("a", 7), visit("b", 2, shop="other.myshopify.com"))
    count_all(database)
    words = ("check", "--shop", SHOP, "--from", DAY, "--to", DAY)
    assert run(report, *words).stdout == "40 groups of numbers are equal.\n"
    database.execute("DELETE FROM report_counts WHERE dimension = 0")
    wrong = run(report, *words)
    assert wrong.exit_code == 1
    told = [line.partition(":")[0] for line in wrong.stdout.splitlines()]
    assert {"funnel", "visitors", "days"} <= set(told)
    assert wrong.stderr.startswith("Error: They differ. Days whose events are deleted")
    assert f"run `flask report rebuild --shop {SHOP}`" in wrong.stderr
    assert "visitors: the report has 0, the plain count 1" in wrong.stdout
    one = run(report, "rebuild", "--shop", SHOP)
    assert f"{SHOP} 7 events" in one.output
    assert one.stdout.endswith("Shops recalculated: 1.\n")
    assert "All" not in one.stderr
    everything = run(report, "rebuild", "--yes")
    assert everything.stdout.endswith("Shops recalculated: 2.\n")
    assert everything.stderr == "All 2 shops are to be recalculated.\n"
    assert run(report, *words).exit_code == 0


@pytest.mark.parametrize(
    ("group", "words"),
    [
        pytest.param(report, ("funnel", "--shop", SHOP), marks=pytest.mark.slow),
        (report, ("check", "--shop", SHOP)),
        (report, ("rebuild",)),
        (db, ("status",)),
        (db, ("upgrade",)),
        (db, ("maintain",)),
        (db, ("backup", "file")),
        (db, ("restore", "file")),
        (experiment, ("stop", "--shop", SHOP)),
        (experiment, ("show", "--shop", SHOP)),
        (experiment, ("start", "--shop", SHOP)),
    ],
)
def test_without_postgres_there_is_one_line_and_exit_code_1(run, monkeypatch, group, words):
    monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1:1/nowhere")
    result = run(group, *words)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: Postgres does not answer")
    assert result.stderr.count("\n") == 1
    assert isinstance(result.exception, SystemExit)


def test_a_command_that_is_stopped_says_that_it_may_be_repeated(run, database, monkeypatch):
    def fail(*_):
        raise psycopg.errors.QueryCanceled

    database.execute("INSERT INTO shops (domain) VALUES (%s)", [SHOP])
    monkeypatch.setattr("app.merchant.commands.rebuild", fail)
    monkeypatch.setattr("app.worker.commands.maintain", fail)
    monkeypatch.setattr("app.store.migrate.upgrade", fail)
    why = "QueryCanceled: 57014"
    for group, words, said in (
        (report, ["rebuild"], f"Error: Stopped at {SHOP}, safe to repeat: {why}\n"),
        (db, ["maintain"], f"Error: Stopped, safe to repeat: {why}\n"),
        (db, ["upgrade"], f"Error: The database could not be upgraded: {why}\n"),
    ):
        result = run(group, *words)
        assert result.exit_code == 1
        assert result.stderr.endswith(said)


def test_what_was_maintained_is_told_a_line_for_each(run, database):
    assert run(db, "maintain").stdout == "There was nothing to do.\n"
    database.execute(
        "INSERT INTO webhook_deliveries (id, topic, shop_domain, received_at)"
        " SELECT n::text, 'a', 'b', now() - interval '31 days' FROM generate_series(1, 2) AS n"
    )
    assert run(db, "maintain").stdout == "2 webhook_deliveries deleted\n"


def test_the_schema_s_status_is_a_line_for_each_migration(run, database):
    result = run(db, "status")
    assert (result.exit_code, result.stderr) == (0, "")
    assert lines(result.stdout)[0].startswith("0001_tracking applied 20")
    assert all(line.endswith(" UTC") for line in result.stdout.splitlines())
    database.execute("UPDATE schema_migrations SET number = 10001 WHERE number = 1")
    try:
        result = run(db, "status")
    finally:
        database.execute("UPDATE schema_migrations SET number = 1 WHERE number = 10001")
    assert result.exit_code == 1
    assert lines(result.stdout)[0] == "0001_tracking missing"
    assert lines(result.stdout)[-1] == "0001_tracking applied by a newer release"
    assert result.stderr == (
        "A newer release has applied 0001_tracking: this one runs beside it, and is due for an"
        " update.\nRun `flask db upgrade` to apply what is missing.\n"
    )
    again = run(db, "upgrade")
    assert (again.stdout, again.stderr) == ("The database is up to date.\n", "")


# Experiments.


def test_an_experiment_in_a_terminal(run, database):
    assert run(experiment, "show", "--shop", SHOP).exit_code == 1
    database.execute("INSERT INTO shops (domain) VALUES (%s)", [SHOP])
    nothing = "Nobody has added to the cart in the last 28 days: nothing to plan by."
    assert lines(run(experiment, "show", "--shop", SHOP).stdout) == ["No experiment.", "", nothing]
    started = run(experiment, "start", "--shop", SHOP, "--salt", "s",
                  "--start", "2026-01-02T03:04:00+01:00")  # fmt: skip
    assert started.stdout == (f"{SHOP}: 10 % are held back from 2026-01-02 02:04 UTC on, salt s.\n")
    shown = lines(run(experiment, "show", "--shop", SHOP).stdout)
    assert shown[1:5] == [
        "", "10 % held back from 2026-01-02T02:04 on",
        "widget 0 visitors 0 added – 0 within their window",
        "holdout 0 visitors 0 added – 0 within their window",
    ]  # fmt: skip
    assert [line[:3] for line in shown[5:]] == ["ok ", "ok ", "ok ", "BAD"]
    assert nothing not in shown
    assert nothing in lines(run(experiment, "show", "--shop", SHOP, "--share", "7").stdout)
    assert run(experiment, "stop", "--shop", SHOP).stdout == f"{SHOP}: stopped.\n"
    assert run(experiment, "stop", "--shop", SHOP).stdout == f"{SHOP}: none has begun.\n"
    ended = lines(run(experiment, "show", "--shop", SHOP).stdout)
    assert ended[2].startswith("10 % held back from 2026-01-02T02:04 to 20")
    assert ended[-1] == nothing


def test_a_plan_in_a_terminal(run, database):
    now = datetime.now(UTC)
    yesterday = now - timedelta(days=2)
    store(database, *(
        batch(f"v{n}", (PAGE, yesterday), *([(ADDED, yesterday)] if n % 4 == 0 else []))
        for n in range(40)
    ))  # fmt: skip
    count_all(database)
    shown = lines(run(experiment, "show", "--shop", SHOP, "--share", "7").stdout)
    head = shown.index(next(line for line in shown if line.startswith("Smallest rise")))
    assert shown[head] == (
        "Smallest rise that would show, in points, with 20 new visitors a day of whom 25.0% add to"
        " the cart:"
    )
    days = [now.date() + timedelta(days=days) for days in (14, 28, 56, 90, 180, 365)]
    assert shown[head + 1] == f"held back {' '.join(map(str, days))}"
    assert [row.split(" %")[0] for row in shown[head + 2 :]] == ["5", "7", "10", "20", "50"]
    numbers = [float(cell) for cell in shown[-1].split(" % ")[1].split() if cell != "-"]
    assert numbers == sorted(numbers, reverse=True)


# Requests.


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "open"),
        ({"attempts": 3}, "open, 3 failed attempts"),
        ({"state": "failed", "cause": "Why"}, "has failed (Why): flask privacy retry 5"),
        ({"outcome": "done"}, "done: nothing was there"),
        ({"outcome": "done", "erased": {"events": 2, "batches": 1}}, "done: 2 events, 1 batches"),
        ({"outcome": "done", "kind": "export_customer"}, "expired or erased"),
        (
            {"outcome": "done", "kind": "export_customer", "export": {"a": 1},
             "expires_at": datetime(2099, 1, 2, tzinfo=UTC)},
            "ready until 2099-01-02: flask privacy export 5",
        ),
        (
            {"outcome": "done", "kind": "export_customer", "export": {"a": 1},
             "expires_at": datetime.now(UTC) - timedelta(seconds=1)},
            "expired or erased",
        ),
    ],
)  # fmt: skip
def test_the_state_of_a_request_says_what_comes_next(changes, words):
    none = dict.fromkeys(field for field in requests.Request.__dataclass_fields__)
    whole = none | {"id": 5, "kind": "erase_customer", "attempts": 0, "erased": {}} | changes
    assert _state(requests.Request(**whole)) == words


def test_requests_are_listed_the_newest_first_a_line_each(run, database):

    assert run(privacy, "list").stderr == "There are no requests.\n"
    for minutes, shop in enumerate((SHOP, "other.myshopify.com")):
        requests.add(
            database, requests.ERASE_SHOP, shop, requests.Subject(), source="test",
            requested_at=NOON + timedelta(minutes=minutes),
        )  # fmt: skip
    assert run(privacy, "list").stdout.splitlines() == [
        "2  2026-03-10 12:01  other.myshopify.com  erase_shop  open",
        f"1  2026-03-10 12:00  {SHOP}  erase_shop  open",
    ]
    assert len(run(privacy, "list", "--shop", SHOP).stdout.splitlines()) == 1
