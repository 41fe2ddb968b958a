"""A real Sentinel says where the Redis is that takes writes."""

import asyncio
import socket
import subprocess
import time
from contextlib import closing, suppress
from dataclasses import replace

import pytest
import redis
from redis.exceptions import ConnectionError as NoConnection

from app.intake.places import places_of
from app.intake.redis_client import request_client, roles, worker_client
from app.intake.shared_connection import SharedConnection
from config.redis_url import read_redis_url
from tests.processes.running import free_port, wait_until
from tests.redis_servers import REDIS_7_0, VALKEY, port_of, redis_server

PROGRAM = REDIS_7_0 if REDIS_7_0.exists() else VALKEY
SERVICE = "genlook"


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    """Two primaries that know nothing of each other, and a replica of the first."""
    folder = tmp_path_factory.mktemp("servers")
    with (
        redis_server(PROGRAM, folder / "one", **{"repl-diskless-sync-delay": 0}) as one,
        redis_server(PROGRAM, folder / "two") as two,
        redis_server(PROGRAM, folder / "three") as three,
    ):
        three.replicaof("127.0.0.1", port_of(one))
        wait_until(lambda: three.info("replication")["master_link_status"] == "up")
        yield one, two, three


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """The Sentinel."""
    folder, port = tmp_path_factory.mktemp("sentinel"), free_port()
    file = folder / "sentinel.conf"
    file.write_text(f"port {port}\ndir {folder}\nbind 127.0.0.1\n")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([PROGRAM, file, "--sentinel"], stdout=log, stderr=log)
    with closing(redis.Redis(port=port)) as sentinel:

        def answers():
            with suppress(redis.RedisError):
                return sentinel.ping()
            return False

        wait_until(answers)
        yield sentinel
    process.kill()
    process.wait()


@pytest.fixture
def sentinel(asked, servers):
    """It names the first of the servers as the primary."""
    watch(asked, servers[0])
    return asked


def watch(sentinel, server):
    with suppress(redis.ResponseError):
        sentinel.execute_command("SENTINEL", "REMOVE", SERVICE)
    sentinel.execute_command("SENTINEL", "MONITOR", SERVICE, "127.0.0.1", port_of(server), 1)


def url_of(sentinel, *, service=SERVICE, first=""):
    return f"redis+sentinel://{first}127.0.0.1:{port_of(sentinel)}/{service}/0"


def places(sentinel, **options):
    return places_of(read_redis_url(url_of(sentinel, **options)), {}, timeout=1.0)


def away():
    return f"127.0.0.1:{free_port()},"


def test_the_first_that_answers_names_the_primary(sentinel, servers):
    there = ("127.0.0.1", port_of(servers[0]))
    for first in ("", away()):
        asked = places(sentinel, first=first)
        assert asked.candidates() == (there,)
        assert asked.is_current(there)
        assert not asked.is_current(("127.0.0.1", port_of(servers[1])))
        asked.found(("other", 1))
        asked.leave(there)
        asked.know([("other", 1)])
        assert asked.candidates() == (there,)


def test_all_that_it_knows_are_named_the_primary_first(sentinel, servers):
    one, _, three = servers
    expected = (("127.0.0.1", port_of(one)), ("127.0.0.1", port_of(three)))
    wait_until(lambda: places(sentinel).known() == expected)


def test_each_has_its_role(sentinel, servers, settings):
    one, _, three = servers
    wait_until(lambda: len(places(sentinel).known()) == 2)
    with request_client(replace(settings, redis_url=url_of(sentinel))) as client:
        assert list(roles(client)) == [
            (f"127.0.0.1:{port_of(one)}", "is the primary"),
            (f"127.0.0.1:{port_of(three)}", "is a replica"),
        ]


def test_a_service_that_none_knows_is_nowhere_and_so_is_one_of_a_sentinel_that_is_away(sentinel):
    with pytest.raises(NoConnection, match="no Sentinel knows the service"):
        places(sentinel, service="other").candidates()
    nobody = places_of(read_redis_url(f"redis+sentinel://{away()[:-1]}/a/0"), {}, timeout=1.0)
    with pytest.raises(NoConnection):
        nobody.candidates()
    assert nobody.is_current(("anywhere", 1))  # nobody knows of another one


def test_a_sentinel_that_hangs_is_left_after_its_time(sentinel, servers, black_hole):
    started = time.monotonic()
    asked = places_of(
        read_redis_url(url_of(sentinel, first=f"127.0.0.1:{black_hole},")), {}, timeout=0.2
    )
    assert asked.candidates() == (("127.0.0.1", port_of(servers[0])),)
    assert time.monotonic() - started < 1


@pytest.fixture
def black_hole():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_requests_go_where_it_says_and_follow_when_it_says_otherwise(sentinel, servers, settings):
    one, two, _ = servers

    async def call():
        with request_client(replace(settings, redis_url=url_of(sentinel))) as client:
            shared = SharedConnection(client, timeout=2)
            info = await shared.call("CONFIG", "GET", "port")
            before = await shared.call("CLIENT", "ID"), info
            await asyncio.sleep(0.6)
            assert await shared.call("CLIENT", "ID") == before[0]  # it stays while that holds
            watch(sentinel, two)
            moved = None
            for _ in range(100):
                with suppress(redis.RedisError):
                    moved = await shared.call("CONFIG", "GET", "port")
                if moved != info:
                    break
                await asyncio.sleep(0.05)
            shared.close()
            await asyncio.sleep(0.4)
            return info, moved

    info, moved = asyncio.run(call())
    assert info == [b"port", b"%d" % port_of(one)]
    assert moved == [b"port", b"%d" % port_of(two)]


def test_the_worker_leaves_a_primary_that_was_replaced_and_says_so(
    sentinel, servers, settings, monkeypatch
):
    one, two, _ = servers
    monkeypatch.setattr("app.intake.roles._ASK_EVERY", 0.0)
    with worker_client(replace(settings, redis_url=url_of(sentinel))) as client:
        assert client.info("server")["tcp_port"] == port_of(one)
        watch(sentinel, two)
        with pytest.raises(NoConnection):
            client.ping()
        assert client.info("server")["tcp_port"] == port_of(two)
