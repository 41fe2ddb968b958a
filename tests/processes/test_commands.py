"""The commands of `flask`."""

import json
import subprocess
import sys

import pytest

from tests.processes.running import ROOT, as_url, flask

pytestmark = pytest.mark.slow


def test_the_database_is_upgraded_and_its_status_told(settings, empty_database_url):
    url = as_url(empty_database_url)
    before = flask(settings, "db", "status", DATABASE_URL=url)
    assert (before.returncode, "missing" in before.stdout) == (1, True)
    first = flask(settings, "db", "upgrade", DATABASE_URL=url)
    assert first.returncode == 0, first.stderr
    assert "applied 0001_tracking" in first.stdout
    second = flask(settings, "db", "upgrade", DATABASE_URL=url)
    assert (second.returncode, "up to date" in second.stdout) == (0, True)
    after = flask(settings, "db", "status", DATABASE_URL=url)
    assert (after.returncode, "missing" in after.stdout) == (0, False)


@pytest.mark.parametrize("words", [["--help"], ["db", "--help"], ["worker", "--help"]])
def test_help_needs_no_settings(words):
    result = subprocess.run(
        [sys.executable, "-m", "flask", *words],
        cwd=ROOT,
        env={"PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0
    assert result.stderr == ""
    assert "worker" in result.stdout or "upgrade" in result.stdout


@pytest.mark.parametrize("words", [["run"], ["routes"], ["worker"], ["status"], ["db", "upgrade"]])
def test_without_settings_a_command_says_what_is_missing(settings, words):
    result = flask(settings, *words, DATABASE_URL="")
    assert result.returncode != 0
    assert "DATABASE_URL: is missing" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("words", [["db", "upgrade"], ["db", "status"]])
def test_a_database_that_is_away_is_one_line(settings, words):
    result = flask(settings, *words, DATABASE_URL="postgresql://127.0.0.1:1/x")
    assert result.returncode == 1
    assert "Postgres does not answer at DATABASE_URL" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.fixture
def of_a_newer_release(database):
    database.execute("INSERT INTO schema_migrations VALUES (9999, '9999_newer')")
    yield
    database.execute("DELETE FROM schema_migrations WHERE number = 9999")


def test_a_newer_releases_schema_is_noticed(settings, of_a_newer_release):
    status = flask(settings, "db", "status")
    assert status.returncode == 0
    assert "9999_newer" in status.stdout
    upgrade = flask(settings, "db", "upgrade")
    assert (upgrade.returncode, upgrade.stdout) == (0, "")
    for said in (status.stderr, upgrade.stderr):
        assert "A newer release has applied 9999_newer" in said
    assert "a newer release has applied 9999_newer" in flask(settings, "check").stdout


def test_the_status_and_the_check_have_a_form_for_programs(settings):
    status = flask(settings, "status", "--json")
    told = json.loads(status.stdout)
    assert status.returncode == 0
    assert status.stdout.startswith('{\n  "can_take"')  # people read it too
    assert set(told) == {
        "can_take", "postgres", "redis", "redis_is_persistent", "redis_risk", "redis_is_full",
        "backlog", "spool", "spool_has_room", "worker_seen_seconds", "consumers", "newer_batches",
        "paused", "outcomes_of_day", "outcomes",
    }  # fmt: skip
    assert (told["can_take"], told["postgres"]) == (True, "up")
    check = flask(settings, "check", "--json")
    findings = json.loads(check.stdout)
    assert {key for finding in findings for key in finding} == {"level", "subject", "text"}
    assert check.returncode == any(finding["level"] == "fix" for finding in findings)
