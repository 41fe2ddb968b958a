"""Each finding of `flask check`, and each line of `flask status`, as an operator reads it."""

import json
import time
from dataclasses import replace

import pytest
from click.testing import CliRunner

from app.health import check as checking
from app.health.check import FIX, OK, WARN
from app.health.commands import _rows, check_, status
from app.health.status import Status, Waiting, gather
from app.intake import keys
from app.intake.nodes import Nodes
from app.intake.redis_client import worker_client
from app.intake.spool import Spool
from tests.calls import body
from tests.draining import drain
from tests.processes.running import environment


def found(findings):
    return [(one.level, one.text) for one in findings]


# Settings.


def of_settings(settings, **changes):
    return found(checking._settings(replace(settings, **{"shopify_api_key": "k"} | changes)))


def test_complete_settings_have_one_line(settings):
    secrets = (b"x" * 16, b"y" * 16)
    assert of_settings(settings, shopify_api_secrets=secrets) == [
        (OK, "complete, 2 client secret(s)")
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"shopify_api_secrets": (b"x" * 16, b"x" * 15)}, "a client secret is shorter"),
        ({"shopify_api_key": ""}, "no SHOPIFY_API_KEY"),
        ({"redis_url": "rediss://a", "redis_ssl_cert_reqs": "none"}, "certificate is not checked"),
        ({"redis_url": "rediss://a?ssl_cert_reqs=none"}, "certificate is not checked"),
        ({"hash_emails": True, "email_hash_key": b"x" * 15}, "EMAIL_HASH_KEY is short"),
    ],
)
def test_a_weak_setting_is_warned_of(settings, changes, words):
    strong = {"shopify_api_secrets": (b"x" * 16,)}
    [(level, text)] = of_settings(settings, **(strong | changes))[1:]
    assert level == WARN
    assert words in text


@pytest.mark.parametrize(
    "changes",
    [
        {"redis_url": "redis://a", "redis_ssl_cert_reqs": "none"},  # there is no certificate
        {"redis_url": "rediss://a"},
        {"hash_emails": True, "email_hash_key": b"x" * 16},
        {"hash_emails": False, "email_hash_key": b""},
    ],
)
def test_a_setting_that_is_strong_or_of_no_use_is_not(settings, changes):
    strong = {"shopify_api_secrets": (b"x" * 16,)}
    assert of_settings(settings, **(strong | changes))[1:] == []


# Servers.


class SomeRedis:
    """One of another version, with another clock, or nearly full: what no test can start."""

    def __init__(self, ahead=0.0, **info):
        well = {"redis_version": "7.0.15", "maxmemory_policy": "noeviction", "aof_enabled": 1}
        self._info, self._ahead = well | info, ahead

    def info(self):
        return self._info

    def time(self):
        now = time.time() + self._ahead
        return int(now), int(now % 1 * 1e6)


@pytest.mark.parametrize(
    ("redis", "level", "words"),
    [
        (SomeRedis(), OK, "redis 7.0.15"),
        (SomeRedis(server_name="valkey", valkey_version="9.0.1"), OK, "valkey 9.0.1"),
        (SomeRedis(redis_version="10.1.0"), OK, "redis 10.1.0"),
        (SomeRedis(redis_version="6.2.14"), FIX, "redis 6.2.14: take 7.0 or later"),
        (SomeRedis(maxmemory=100, used_memory=81), WARN, "81 % of its memory is in use"),
        (SomeRedis(maxmemory_policy="volatile-ttl"), FIX, "noeviction, not volatile-ttl; until"),
        (SomeRedis(aof_enabled=0), WARN, "keeps no append-only file: Postgres takes each batch"),
        (SomeRedis(ahead=6), FIX, "differs from Redis's by 6 s"),
        (SomeRedis(ahead=-6), FIX, "differs from Redis's by 6 s"),
    ],
)
def test_a_redis_is_judged(settings, redis, level, words):
    findings = found(checking._redis(redis, settings))
    assert any(one == level and words in text for one, text in findings), findings
    assert len(findings) == 1 + (words[:5] not in ("redis", "valke"))


@pytest.mark.parametrize(
    "redis",
    [
        SomeRedis(maxmemory=100, used_memory=80),
        SomeRedis(maxmemory=0, used_memory=80),
        SomeRedis(ahead=4),
        SomeRedis(ahead=-4),
    ],
)
def test_a_redis_within_its_bounds_has_one_line(settings, redis):
    assert found(checking._redis(redis, settings)) == [(OK, "redis 7.0.15")]


def test_what_redis_may_lose_depends_on_the_intake(settings):
    away = SomeRedis(aof_enabled=0, maxmemory_policy="allkeys-lru")
    stream = found(checking._redis(away, replace(settings, intake="stream")))[1:]
    assert [level for level, _ in stream] == [FIX, FIX]
    assert "until then" not in stream[0][1]
    assert "INTAKE=stream trusts it" in stream[1][1]
    store = found(checking._redis(away, replace(settings, intake="store")))[1:]
    assert [level for level, _ in store] == [FIX, WARN]


def of_postgres(connection, settings):
    of_the_tests = ("fsync is off", "this role is a superuser")
    return [
        one for one in found(checking._postgres(connection, settings, 1))
        if not one[1].startswith(of_the_tests)
    ]  # fmt: skip


def test_a_postgres_that_is_well_has_its_version_and_its_connections(database, settings):
    version = database.info.server_version
    number = f"{version // 10_000}.{version % 10_000}"
    [allowed] = database.execute(
        "SELECT current_setting('max_connections')::int"
        " - current_setting('superuser_reserved_connections')::int"
    ).fetchone()
    [first, second] = of_postgres(database, replace(settings, web_concurrency=2))
    assert first == (OK, f"version {number}")
    assert second[0] == OK
    assert second[1].endswith("one web machine needs 10, a worker 6, commands 2")
    assert 0 < int(second[1].split()[0]) <= allowed + 3


def test_connections_that_do_not_suffice_are_told(database, settings):
    [_, (_, text)] = of_postgres(database, settings)
    allowed = int(text.split()[0])
    web = (allowed - 6 - 2) // 5
    enough = of_postgres(database, replace(settings, web_concurrency=web))[-1]
    assert (enough[0], f"needs {5 * web}," in enough[1]) == (OK, True)
    short = of_postgres(database, replace(settings, web_concurrency=web + 1))[-1]
    assert short[0] == FIX
    assert short[1].endswith("commands 2: lower WEB_CONCURRENCY or take a larger plan")


@pytest.mark.parametrize("name", ["synchronous_commit"])
def test_a_postgres_that_may_lose_commits_is_told(database, settings, name):
    database.execute(f"SET {name} = off")
    try:
        assert (FIX, f"{name} is off, a crash may lose events: set it on") in of_postgres(
            database, settings
        )
    finally:
        database.execute(f"RESET {name}")


def test_a_role_that_may_make_no_partitions_is_told(database, settings):
    database.execute("CREATE ROLE a_reader; GRANT pg_read_all_data TO a_reader")
    database.execute("SET ROLE a_reader")
    try:
        findings = found(checking._postgres(database, settings, 1))
    finally:
        database.execute("RESET ROLE; DROP OWNED BY a_reader; DROP ROLE a_reader")
    told = [text for level, text in findings if level == FIX and "partitions" in text]
    assert told == ["this role may not make partitions: GRANT CREATE ON SCHEMA to it"]
    assert not [text for _, text in findings if "superuser" in text]


def test_a_schema_of_another_release_is_told(database, settings):
    database.execute(
        "INSERT INTO schema_migrations (number, name) VALUES (9999, '9999_of_the_future')"
    )
    try:
        assert (
            WARN, "a newer release has applied 9999_of_the_future: update this one"
        ) in of_postgres(database, settings)  # fmt: skip
    finally:
        database.execute("DELETE FROM schema_migrations WHERE name LIKE '9999%'")


def test_a_replica_that_is_none_is_told(database_url):
    assert found(checking._replica(database_url)) == [
        (WARN, "REPORTS_DATABASE_URL is a primary, not a replica")
    ]
    [(level, text)] = found(checking._replica("postgresql://127.0.0.1:1/x"))
    assert level == WARN
    assert text.startswith("REPORTS_DATABASE_URL does not answer, the primary is read: ")


def test_of_several_servers_each_is_named():
    two = [("a:1", "is the primary"), ("b:2", "does not answer: TimeoutError")]
    assert found(checking._roles("redis", two)) == [
        (OK, "a:1 is the primary"), (WARN, "b:2 does not answer: TimeoutError")
    ]  # fmt: skip
    assert found(checking._roles("redis", two[:1])) == []


# Worker and spool.


@pytest.mark.parametrize(
    ("status", "wanted"),
    [
        (Status(), [(FIX, "none is running: start `flask worker`")]),
        (
            Status(worker_seen_seconds=60.0, backlog=Waiting(7)),
            [(OK, "seen 60 s ago, 7 batches pending")],
        ),
        (Status(worker_seen_seconds=0.0), [(OK, "seen 0 s ago, 0 batches pending")]),
        (
            Status(worker_seen_seconds=60.6),
            [(FIX, "not seen for 61 s: start `flask worker`")],
        ),
        (
            Status(worker_seen_seconds=1.0, newer_batches=2),
            [
                (OK, "seen 1 s ago, 0 batches pending"),
                (FIX, "2 batches of a newer release wait: run a worker of that one"),
            ],
        ),
    ],
)
def test_a_worker_is_judged_by_when_it_was_seen(status, wanted):
    assert found(checking._worker(status)) == wanted


def test_a_spool_needs_room_on_its_disk(settings, tmp_path):
    inside = str(tmp_path / "not" / "there")
    few, many = replace(settings, spool_dir=inside), 2**62
    assert found(checking._spool(few)) == [(OK, f"{inside} is writable")]
    assert found(checking._spool(replace(few, spool_max_bytes=many))) == [
        (WARN, "its disk has less room than SPOOL_MAX_BYTES")
    ]
    assert not (tmp_path / "not").exists()


# The lines.


def lines(**what):
    return [f"{name}: {value}" for name, value in _rows(replace(WELL, **what))]


WELL = Status(backlog=Waiting(), spool_has_room=True)


def test_a_quiet_system_has_five_lines():
    assert lines() == [
        "postgres: up",
        "redis: up, keeps an append-only file",
        "backlog: empty",
        "spool: empty",
        "worker: none is running",
    ]


def test_whatever_there_is_to_tell_has_its_line():
    consumer = {"name": "a-1", "pending": 3, "idle_seconds": 1.6}
    assert lines(
        postgres="OperationalError",
        redis_risk="is a replica",
        redis_is_full=True,
        backlog=Waiting(1_234, 59.6),
        spool=Waiting(2),
        spool_has_room=False,
        consumers=[consumer],
        newer_batches=4,
        paused={"store": 5.4},
        outcomes_of_day={"received": 9, "accepted": 8},
    ) == [
        "postgres: OperationalError",
        "redis: up, is a replica, full",
        "backlog: 1234 batches, the oldest for 60 s",
        "spool: 2 batches, the oldest for 0 s, no room",
        "worker: a-1, seen 2 s ago, holds 3",
        "newer: 4 batches of a newer release wait for its worker",
        "skipped: store, failing for 5 s",
        "last day: 8 accepted",
        "last day: 9 received",
    ]
    assert lines(redis="TimeoutError", backlog=None)[1:3] == [
        "redis: TimeoutError", "backlog: not known"
    ]  # fmt: skip


@pytest.fixture
def command(settings, monkeypatch):
    monkeypatch.setattr("config.logs.configure", lambda *_: None)
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)
    return lambda which, *words: CliRunner().invoke(which, words)


def test_both_commands_print_a_table_or_json(command, caller, settings):
    caller.post(body())
    drain(settings)
    told = command(status)
    assert (told.exit_code, told.output.splitlines()[0]) == (0, "postgres     up")
    as_json = json.loads(command(status, "--json").output)
    assert (as_json["can_take"], as_json["backlog"]) == (
        True, {"batches": 0, "oldest_seconds": None}
    )  # fmt: skip
    [consumer] = as_json["consumers"]
    assert (consumer["name"], consumer["pending"]) == ("drain", 0)
    told = command(check_)
    assert told.exit_code == 1  # for fsync
    assert "ok    settings  complete, 1 client secret(s)" in told.output.splitlines()
    findings = json.loads(command(check_, "--json").output)
    assert findings[0] == {
        "level": "ok", "subject": "settings", "text": "complete, 1 client secret(s)"
    }  # fmt: skip


def test_the_status_adds_up_all_partitions(settings, redis_client, tmp_path):
    """Of a day and the one before; a worker on two streams is one worker."""
    now = time.time()
    for partition, number in ((0, 1), (1, 2)):
        stream = keys.stream(partition)
        redis_client.hset(keys.counts(partition, now), "accepted", number)
        redis_client.hset(keys.counts(partition, now - 86_400), "accepted", 10 * number)
        redis_client.hset(keys.counts(partition, now - 2 * 86_400), "accepted", 1_000)
        redis_client.hset(keys.total(partition), "accepted", 100 * number)
        for second in (90, 30):
            redis_client.xadd(stream, {"a": 1}, id=f"{int((now - second * number) * 1000)}-1")
        redis_client.xgroup_create(stream, keys.GROUP, "0")
        redis_client.xreadgroup(keys.GROUP, "worker", {stream: ">"}, count=number)
    spool = Spool(tmp_path, max_bytes=2**20)
    found = gather(Nodes(worker_client(settings)), lambda: None, spool, skipped={"spool": now - 7})
    spool.close()
    assert found.outcomes_of_day["accepted"] == 33
    assert found.outcomes["accepted"] == 300
    assert found.backlog.batches == 4
    assert found.backlog.oldest_seconds == pytest.approx(180, abs=5)
    assert found.oldest_seconds == found.backlog.oldest_seconds
    [worker] = found.consumers
    assert (worker["name"], worker["pending"]) == ("worker", 3)
    assert found.worker_seen_seconds == pytest.approx(0, abs=5)
    assert found.paused == {"spool": pytest.approx(7, abs=2)}
