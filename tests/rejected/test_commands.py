"""flask rejected, in this process."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner

from app.batch.batch import Batch, Context, Rejected
from app.cli import rejected
from app.rejected.replay import find
from app.store.writer import Writer
from tests.calls import SHOP, body
from tests.processes.running import environment

OTHER = "b.myshopify.com"
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)


@pytest.fixture
def run(settings, database, monkeypatch):
    """Runs a command; its output. Of the four that were rejected, all but the first are valid."""
    monkeypatch.setattr("config.logs.configure", lambda *_: None)
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)
    detail = {"path": "context", "message": "is required"}
    for number, (shop, code, payload, details) in enumerate(
        (
            (SHOP, "OLD", "{", []),
            (SHOP, "NEW", json.dumps(body()), [detail]),
            (OTHER, "NEW", json.dumps(body()), [detail]),
            (OTHER, "OLD", json.dumps(body()), [detail]),
        )
    ):
        batch = Batch.build(
            shop=shop, customer_id=None, received_at=NOON + timedelta(minutes=number),
            context=Context(), events=[], rejected=[Rejected(None, code, details, payload)],
        )  # fmt: skip
        Writer(statement_timeout=10_000).write(database, [batch])

    def run(*words, code=0):
        result = CliRunner().invoke(rejected, words)
        assert result.exit_code == code, result.output
        return result.output

    return run


def left(database):
    return sorted(one.id for one in find(database))


def test_each_is_told_in_a_line(run):
    assert run("list").splitlines() == [
        f"4  2026-03-10 12:03  {OTHER}  OLD  context is required",
        f"3  2026-03-10 12:02  {OTHER}  NEW  context is required",
        f"2  2026-03-10 12:01  {SHOP}  NEW  context is required",
        f"1  2026-03-10 12:00  {SHOP}  OLD  ",
    ]
    assert [line[0] for line in run("list", "--code", "OLD", "--limit", "1").splitlines()] == ["4"]
    assert [line[0] for line in run("list", "--shop", SHOP).splitlines()] == ["2", "1"]


def test_what_the_journal_could_not_read_stays_with_its_reason(run, database):
    entry = Batch.build(
        shop=SHOP, customer_id=None, received_at=NOON, context=Context(), events=[],
        rejected=[Rejected(None, code, [], "x") for code in ("UNREADABLE_ENTRY", "UNSTORABLE")],
    )  # fmt: skip
    Writer(statement_timeout=10_000).write(database, [entry])
    shown = run("replay", "--code", "UNREADABLE_ENTRY")
    assert f"5  {SHOP}  UNREADABLE_ENTRY  the entry of the journal cannot be read" in shown
    assert shown.endswith("0 stored, 1 still rejected.\n")
    assert run("replay", "--code", "UNSTORABLE").endswith("0 stored, 1 still rejected.\n")
    assert left(database) == [1, 2, 3, 4, 5, 6]


def test_that_there_is_none_is_said_beside(run):
    result = CliRunner().invoke(rejected, ["list", "--shop", "nobody.myshopify.com"])
    assert (result.stdout, result.stderr) == ("", "There are no rejected events.\n")


def test_one_is_shown(run):
    assert json.loads(run("show", "2"))["code"] == "NEW"
    assert "There is no rejected event 9" in run("show", "9", code=1)


@pytest.mark.parametrize(
    ("words", "stays"),
    [
        (["--code", "NEW"], [1, 4]),
        (["--shop", OTHER], [1, 2]),
        (["--id", "2"], [1, 3, 4]),
        (["--limit", "1"], [1, 2, 3]),
        (["--shop", SHOP, "--code", "OLD"], [1, 2, 3, 4]),
        ([], [1]),
    ],
)
def test_what_is_asked_for_is_tried_again_and_nothing_else(run, database, words, stays):
    shown = run("replay", *words)
    assert left(database) == stays
    rest = 1 if not words or "OLD" in words else 0
    assert f"{4 - len(stays)} stored, {rest} still rejected.\n" in shown
    assert (f"1  {SHOP}  OLD  The body is not valid JSON" in shown) is bool(rest)
