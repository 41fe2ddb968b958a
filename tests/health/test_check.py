"""flask check: what is not right, and what to do about it."""

from dataclasses import replace

import psycopg
import pytest
from psycopg import conninfo

from app.health.check import FIX, OK, check
from tests.draining import drain
from tests.processes.running import flask


@pytest.fixture
def faults(settings):
    """The findings that must be put right, with some settings changed."""

    def faults(**changes):
        found = check(replace(settings, **changes))
        texts = [f"{one.subject}: {one.text}" for one in found if one.level == FIX]
        return [text for text in texts if "fsync is off" not in text]  # the tests' server is fast

    return faults


@pytest.fixture
def working(settings, redis_client):
    drain(settings)


@pytest.mark.slow
def test_a_system_that_is_well_has_nothing_to_put_right(settings, faults, working):
    assert faults() == []
    assert "fsync is off" in flask(settings, "check").stdout
    assert {one.subject for one in check(settings) if one.level == OK} == {
        "settings", "postgres", "redis", "worker", "bounds", "spool"
    }  # fmt: skip


@pytest.mark.slow
def test_servers_that_are_away_are_named_both(faults, settings):
    found = faults(database_url="postgresql://127.0.0.1:1/x", redis_url="redis://127.0.0.1:1")
    assert [line.split(":")[0] for line in found] == ["postgres", "redis"]
    assert flask(settings, "check", REDIS_URL="redis://127.0.0.1:1").returncode == 1


def test_what_is_missing_or_set_wrong_is_told(
    faults, working, empty_database_url, redis_client, tmp_path
):
    (tmp_path / "file").touch()
    redis_client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        found = "\n".join(
            faults(
                database_url=empty_database_url,
                web_concurrency=100,
                spool_dir=str(tmp_path / "file" / "spool"),
            )
        )
    finally:
        redis_client.config_set("maxmemory-policy", "noeviction")
    assert "0001_tracking" in found
    assert "one web machine needs 500" in found
    assert "set maxmemory-policy noeviction, not allkeys-lru; until then Postgres takes" in found
    assert "is not writable" in found


@pytest.mark.slow
def test_every_fault_says_what_to_do(settings, faults, tmp_path, working):
    assert "SHOPIFY_API_KEY" in flask(settings, "check").stdout
    url = settings.database_url
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("CREATE ROLE a_stranger LOGIN")
    try:
        [refused] = faults(database_url=conninfo.make_conninfo(url, user="a_stranger"))
    finally:
        with psycopg.connect(url, autocommit=True) as admin:
            admin.execute("DROP ROLE a_stranger")
    assert "InsufficientPrivilege" in refused
    assert "does not answer" not in refused
    (tmp_path / "file").touch()
    found = faults(
        database_url="postgresql://127.0.0.1:1/x",
        redis_url="redis://127.0.0.1:1",
        spool_dir=str(tmp_path / "file"),
    )
    assert [line.split("refused")[-1].split("directory")[-1] for line in found] == [
        ": start it, or correct the address",
        ": start it, or correct the address",
        ": choose a folder that is",
    ]


def test_a_worker_that_nobody_has_seen_is_told(faults):
    assert faults() == ["worker: none is running: start `flask worker`"]


def test_a_redis_that_keeps_nothing_must_not_come_first(faults, working, redis_client):
    redis_client.config_set("appendonly", "no")
    try:
        assert "keeps no append-only file" in faults(intake="stream")[0]
        assert faults(intake="auto") == []
    finally:
        redis_client.config_set("appendonly", "yes")
