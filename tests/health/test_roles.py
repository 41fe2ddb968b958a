"""flask check and /readyz say which of the servers is what."""

from dataclasses import replace

import pytest

from app.health.check import FIX, OK, WARN, check
from tests.calls import body, event
from tests.intake.test_roles import QUICK, address_of, follow
from tests.postgres_servers import caught_up, primary_and_standby
from tests.processes.running import free_port, wait_until
from tests.redis_servers import VALKEY, port_of, redis_server

pytestmark = pytest.mark.slow

SUCCESS = b'{"success":true}'


@pytest.fixture
def findings(settings):
    def findings(subject, **changes):
        found = check(replace(settings, **changes))
        return [(one.level, one.text) for one in found if one.subject == subject]

    return findings


@pytest.fixture
def pair(tmp_path):
    with (
        redis_server(VALKEY, tmp_path / "one", **QUICK) as primary,
        redis_server(VALKEY, tmp_path / "two", **QUICK) as replica,
    ):
        follow(replica, primary)
        yield primary, replica


def test_of_several_redis_servers_each_role_is_told(findings, pair):
    gone = free_port()
    told = findings("redis", redis_url=f"{address_of(*pair)[:-2]},127.0.0.1:{gone}/0")
    assert (OK, f"127.0.0.1:{port_of(pair[0])} is the primary") in told
    assert (OK, f"127.0.0.1:{port_of(pair[1])} is a replica") in told
    assert [text for level, text in told if level == WARN and f":{gone} does not answer" in text]
    assert FIX not in {level for level, _ in told}


def test_a_replica_alone_is_to_be_put_right_and_the_store_takes_the_batches(
    findings, pair, calling
):
    told = findings("redis", redis_url=address_of(pair[1]))
    assert (FIX, "is a replica: name the server that takes writes") in told
    caller = calling(redis_url=address_of(pair[1]))
    assert caller.post(body()).data == SUCCESS
    assert len(caller.rows()) == 1
    state = caller.get("/readyz").json
    assert (state["status"], state["redis"]) == ("degraded", "down")
    assert state["redis_risk"] == "is a replica"


def test_of_a_cluster_every_primary_is_asked(findings, three, calling):
    risky = three.primaries[1]
    risky.config_set("maxmemory-policy", "allkeys-lru")
    try:
        told = findings("redis", redis_url=three.url)
        caller = calling(redis_url=three.url, stream_partitions=8)
        state = caller.get("/readyz").json
    finally:
        risky.config_set("maxmemory-policy", "noeviction")
    for server in three.primaries:
        assert (OK, f"127.0.0.1:{port_of(server)} is a primary") in told
    [text] = [text for level, text in told if level == FIX]
    assert text.startswith(f"127.0.0.1:{port_of(risky)} may evict what it holds")
    assert any(" a worker 8," in text for _, text in findings("postgres", redis_url=three.url))
    assert (WARN, "2 of its primaries have no partition: raise STREAM_PARTITIONS") in told
    assert state["redis_risk"] == "may evict keys (maxmemory-policy allkeys-lru)"


def test_the_status_adds_up_what_all_primaries_hold(three, calling):
    caller = calling(redis_url=three.url, stream_partitions=8, metrics_token="token")
    for number in range(20):
        for _ in range(2):
            shop = f"shop-{number}.myshopify.com"
            assert caller.post(body(event(insert_id="one")), shop=shop).data == SUCCESS
    caller.extensions["intake"].report()
    caller.extensions["reporter"].report()
    status = caller.extensions["status"]()
    assert status.backlog.batches == 20
    assert (status.outcomes["accepted"], status.outcomes["duplicate"]) == (20, 20)
    text = caller.get("/metrics", {"Authorization": "Bearer token"}).data.decode()
    used = sum(server.info("memory")["used_memory"] for server in three.primaries)
    [shown] = [line for line in text.splitlines() if line.startswith("genlook_redis_memory_bytes ")]
    assert float(shown.split()[1]) == pytest.approx(used, rel=0.2)


def test_of_postgres_each_role_is_told_and_how_far_the_replica_is_behind(findings):
    with primary_and_standby() as (primary, standby):
        wait_until(lambda: caught_up(primary, standby))
        both = f"postgresql://postgres@{standby.address},{primary.address}/postgres"
        told = findings("postgres", database_url=both)
        assert (OK, f"{primary.address} is the primary") in told
        assert (OK, f"{standby.address} is a standby") in told
        told = findings("replica", database_url=both, reports_database_url=standby.url)
        assert (OK, "is 0 s behind the primary") in told
        assert "hot_standby_feedback is off" in told[1][1]
        [(level, text)] = findings("replica", reports_database_url=primary.url)
        assert (level, "is a primary" in text) == (WARN, True)
    [(level, text)] = findings("replica", reports_database_url=standby.url)
    assert (level, "does not answer" in text) == (WARN, True)
