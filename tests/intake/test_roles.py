"""Which server is asked: real ones that change their roles, over both kinds of connections."""

import asyncio
import os
import signal
import ssl
import subprocess
import time
from contextlib import closing, contextmanager

import pytest
import redis

from app.intake.places import Fixed
from app.intake.redis_client import client_of
from app.intake.roles import NotPrimary, require_primary
from app.intake.shared_connection import SharedConnection
from tests.processes.running import free_port, wait_until
from tests.redis_servers import KEEPS, ON_BOTH, REDIS_7_0, port_of, redis_server

pytestmark = pytest.mark.slow

TIMEOUT = 0.25  # s, where a server hangs; elsewhere a slow machine has more time
QUICK = {**KEEPS, "repl-diskless-sync-delay": 0}
A, B, C = (("a", 1), ("b", 2), ("c", 3))


@pytest.fixture(params=ON_BOTH)
def pair(request, tmp_path):
    """A primary and its replica."""
    with (
        redis_server(request.param, tmp_path / "one", **QUICK) as primary,
        redis_server(request.param, tmp_path / "two", **QUICK) as replica,
    ):
        follow(replica, primary)
        yield primary, replica


def follow(replica, primary):
    replica.replicaof("127.0.0.1", port_of(primary))
    wait_until(lambda: replica.info("replication")["master_link_status"] == "up")


def swap(primary, replica):
    replica.replicaof("NO", "ONE")
    follow(primary, replica)


def address_of(*clients):
    return f"redis://{','.join(f'127.0.0.1:{port_of(client)}' for client in clients)}/0"


class OnThread:
    """A pooled client, called as the shared connection is."""

    def __init__(self, client, timeout):
        self.call = client.execute_command

    def close(self):
        pass


class OnLoop:
    def __init__(self, client, timeout):
        self._loop = asyncio.new_event_loop()
        self._shared = SharedConnection(client, timeout=timeout)

    def call(self, *words):
        async def call():
            return await self._shared.call(*words)

        return self._loop.run_until_complete(call())

    def close(self):
        self._shared.close()
        self._loop.run_until_complete(asyncio.sleep(0.01))
        self._loop.close()


WAYS = pytest.mark.parametrize("way", [OnThread, OnLoop])


@contextmanager
def connecting(way, url, timeout=2.0):
    with client_of(url, timeout) as client, closing(way(client, timeout)) as connection:
        yield connection


def port_that_answers(connection):
    return int(connection.call("CONFIG", "GET", "port")[1])


def writes(connection):
    """Whether a write arrives; a failover may cost the first ones."""
    try:
        return connection.call("SET", "written", time.time()) in (True, b"OK")
    except redis.RedisError:
        return False


@WAYS
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_of_several_addresses_the_primary_is_used(pair, way, order):
    with connecting(way, address_of(*(pair[number] for number in order))) as connection:
        assert writes(connection)
        assert port_that_answers(connection) == port_of(pair[0])


@WAYS
def test_an_address_that_refuses_is_passed_over_at_once(pair, way):
    url = f"redis://127.0.0.1:{free_port()},127.0.0.1:{port_of(pair[0])}"
    with connecting(way, url) as connection:
        assert writes(connection)


@WAYS
def test_a_replica_alone_is_not_written_to_and_says_what_it_is(pair, way):
    is_told = pytest.raises(NotPrimary, match="is a replica")
    with connecting(way, address_of(pair[1])) as connection, is_told:
        connection.call("GET", "a")


@WAYS
def test_after_a_swap_of_roles_writes_go_to_the_new_primary(pair, way):
    with connecting(way, address_of(*pair)) as connection:
        assert writes(connection)
        swap(*pair)
        wait_until(lambda: writes(connection), 5)
        assert port_that_answers(connection) == port_of(pair[1])
        swap(*reversed(pair))
        wait_until(lambda: writes(connection), 5)
        assert port_that_answers(connection) == port_of(pair[0])


@WAYS
def test_a_primary_that_is_killed_is_followed_by_the_one_that_takes_its_place(pair, way):
    primary, replica = pair
    with connecting(way, address_of(*pair)) as connection:
        assert writes(connection)
        os.kill(primary.pid, signal.SIGKILL)
        replica.replicaof("NO", "ONE")
        wait_until(lambda: writes(connection), 5)


@WAYS
def test_a_primary_that_hangs_is_left_and_not_gone_back_to(pair, way):
    primary, replica = pair
    with connecting(way, address_of(*pair), TIMEOUT) as connection:
        assert writes(connection)
        os.kill(primary.pid, signal.SIGSTOP)
        try:
            replica.replicaof("NO", "ONE")
            wait_until(lambda: writes(connection), 5)
        finally:
            os.kill(primary.pid, signal.SIGCONT)
        assert {port_that_answers(connection) for _ in range(20)} == {port_of(replica)}


def test_what_only_reads_leaves_a_demoted_server_within_a_second(pair):
    with client_of(address_of(*pair), 2) as client:
        pool = client.connection_pool
        taken = [pool.get_connection() for _ in range(3)]
        for one in taken:
            pool.release(one)
        swap(*pair)
        time.sleep(1.05)
        for one in taken:
            with pytest.raises(redis.ConnectionError, match="elsewhere"):
                one.send_command("GET", "a")
        for _ in range(3):
            assert int(client.execute_command("CONFIG", "GET", "port")[1]) == port_of(pair[1])


def test_a_primary_is_asked_about_its_role_once_a_second_and_not_more(pair):
    with client_of(address_of(pair[0]), 2) as client:
        client.ping()
        before = pair[0].info("commandstats")["cmdstat_info"]["calls"]
        began = time.monotonic()
        for _ in range(100):
            client.ping()
        own = 1  # the next line's
        asked = pair[0].info("commandstats")["cmdstat_info"]["calls"] - before - own
        assert asked <= time.monotonic() - began


@WAYS
def test_a_primary_cut_off_from_its_replicas_is_left_for_another(pair, way):
    primary, replica = pair
    with connecting(way, address_of(*pair)) as connection:
        assert writes(connection)
        replica.replicaof("NO", "ONE")
        primary.config_set("min-replicas-to-write", 1)
        wait_until(lambda: writes(connection), 5)
        assert port_that_answers(connection) == port_of(replica)


def test_what_is_no_primary_is_told_by_what_it_says():
    require_primary({"role": "master", "loading": "0", "cluster_enabled": "0"})
    require_primary({})  # a user who may not ask
    for info, text in (
        ({"role": "slave"}, "replica"),
        ({"role": "master", "loading": 1}, "loading"),
        ({"redis_mode": "sentinel"}, "Sentinel"),
    ):
        with pytest.raises(NotPrimary, match=text):
            require_primary(info)


def test_where_the_primary_was_found_is_asked_first_and_what_was_left_last():
    places = Fixed([A, B, C])
    places.leave(A)
    assert places.candidates() == (B, C, A)
    places.leave(A)  # by another connection: it is not the first any more
    assert places.candidates() == (B, C, A)
    places.found(A)
    assert places.candidates() == (A, B, C)
    assert (places.is_current(A), places.is_current(B)) == (True, False)


@WAYS
def test_the_connections_bear_the_name_that_the_address_gives_them(pair, way):
    with connecting(way, f"{address_of(pair[0])}?client_name=genlook") as connection:
        assert connection.call("CLIENT", "GETNAME") == b"genlook"


@WAYS
def test_what_the_address_says_of_replies_and_waiting_changes_nothing(pair, way):
    options = "protocol=3&decode_responses=yes&socket_timeout=60&max_connections=5"
    with connecting(way, f"{address_of(pair[0])}?{options}", TIMEOUT) as connection:
        assert connection.call("ECHO", "a") == b"a"
        began = time.monotonic()
        with pytest.raises(redis.TimeoutError):
            connection.call("BLPOP", "nothing", 3)
        assert time.monotonic() - began < 1


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """An authority's and, made by it, a server's and a client's."""
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*words):
        subprocess.run(["openssl", *words], check=True, capture_output=True, cwd=folder)

    key = ("-newkey", "rsa:2048", "-nodes", "-days", "2")
    openssl("req", "-x509", *key, "-subj", "/CN=tests", "-addext", "keyUsage=critical,keyCertSign",
            "-keyout", "ca.key", "-out", "ca.pem")  # fmt: skip
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost")
    for name in ("server", "client"):
        openssl("req", *key, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", "request")
        signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names")
        openssl("x509", "-req", "-in", "request", *signed, "-days", "2", "-out", f"{name}.pem")
    return folder


@pytest.fixture
def encrypted(tmp_path, certificates):
    """Debian's redis-server with TLS: the address without options."""
    if not REDIS_7_0.exists():
        pytest.skip(f"there is no {REDIS_7_0}")
    port = free_port()
    options = {
        "tls-port": port,
        "tls-cert-file": certificates / "server.pem",
        "tls-key-file": certificates / "server.key",
        "tls-ca-cert-file": certificates / "ca.pem",
        "tls-auth-clients": "optional",
    }
    with redis_server(REDIS_7_0, tmp_path / "redis", **options) as server:
        server.url = f"rediss://127.0.0.1:{port}"
        yield server


@WAYS
@pytest.mark.parametrize(
    ("options", "answer"),
    [
        ("ssl_ca_certs={folder}/ca.pem", b"in"),
        ("ssl_ca_certs={folder}/ca.pem&ssl_min_version=772", b"in"),
        ("ssl_cert_reqs=none", b"in"),
        ("ssl_cert_reqs=required", redis.ConnectionError),
        ("ssl_ca_certs={folder}/client.pem", redis.ConnectionError),
    ],
)
def test_the_certificate_is_checked_as_the_address_says(
    encrypted, certificates, way, options, answer
):
    url = f"{encrypted.url}?{options.format(folder=certificates)}"
    with connecting(way, url) as connection:
        if answer is redis.ConnectionError:
            with pytest.raises(redis.ConnectionError, match="certificate verify failed"):
                connection.call("ECHO", "in")
        else:
            assert connection.call("ECHO", "in") == answer


@WAYS
def test_a_server_that_wants_a_certificate_is_shown_the_one_of_the_address(
    encrypted, certificates, way
):
    encrypted.config_set("tls-auth-clients", "yes")
    known = f"{encrypted.url}?ssl_ca_certs={certificates}/ca.pem"
    shown = f"{known}&ssl_certfile={certificates}/client.pem&ssl_keyfile={certificates}/client.key"
    with connecting(way, shown) as connection:
        assert connection.call("ECHO", "in") == b"in"
    is_refused = pytest.raises((redis.ConnectionError, ssl.SSLError))
    with connecting(way, known) as connection, is_refused:
        connection.call("ECHO", "in")
