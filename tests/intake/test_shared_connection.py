"""The loop's connection to Redis, against a real server."""

import asyncio
import ssl
import subprocess
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from urllib.parse import urlsplit

import pytest
from redis import Redis, exceptions

from app.intake.redis_client import request_client
from app.intake.roles import NotPrimary
from app.intake.shared_connection import SharedConnection
from tests.campaigns.tcp_proxy import BLACK_HOLE, PASS, TcpProxy
from tests.processes.running import free_port
from tests.redis_servers import KEEPS, VALKEY, redis_server

TIMEOUT = 0.25  # s


@asynccontextmanager
async def connected(settings, timeout=TIMEOUT):
    with request_client(settings) as client:
        shared = SharedConnection(client, timeout=timeout)
        try:
            yield shared
        finally:
            shared.close()
            await asyncio.sleep(0.01)  # the loop closes it


def address_of(redis_url):
    parts = urlsplit(redis_url)
    return parts.hostname, parts.port


def with_connection(settings, use):
    async def main():
        async with connected(settings) as shared:
            return await use(shared)

    return asyncio.run(main())


def test_calls_at_once_share_a_connection_and_get_their_own_replies(settings):
    async def call(shared):
        calls = [shared.call("ECHO", f"{number}") for number in range(100)]
        replies = await asyncio.gather(*calls, *(shared.call("CLIENT", "ID") for _ in range(10)))
        return replies[:100], replies[100:]

    replies, connections = with_connection(settings, call)
    assert replies == [str(number).encode() for number in range(100)]
    assert len(set(connections)) == 1


def test_where_a_node_has_sent_us_for_now_each_command_says_so(settings, tmp_path):
    """The first one, for which the connection is opened, and those after it."""

    async def call(shared):
        for _ in range(3):
            assert await shared.call("PING", asking=True) == b"PONG"
        assert await shared.call("PING") == b"PONG"

    with redis_server(VALKEY, tmp_path / "one", **KEEPS, **{"cluster-enabled": "yes"}) as server:
        with_connection(replace(settings, redis_url=server.url), call)
        assert server.info("commandstats")["cmdstat_asking"]["calls"] == 3


def test_an_error_is_its_callers_alone(settings):
    async def call(shared):
        calls = (shared.call("ECHO", "a"), shared.call("NONSENSE"), shared.call("ECHO", "b"))
        return await asyncio.gather(*calls, return_exceptions=True)

    first, second, third = with_connection(settings, call)
    assert (first, third) == (b"a", b"b")
    assert isinstance(second, exceptions.ResponseError)


def test_a_caller_who_gives_up_does_not_shift_the_replies_of_others(settings):
    async def call(shared):
        await shared.call("PING")
        gone = asyncio.ensure_future(shared.call("ECHO", "gone"))
        stays = asyncio.ensure_future(shared.call("ECHO", "stays"))
        await asyncio.sleep(0)
        gone.cancel()
        return await stays

    assert with_connection(settings, call) == b"stays"


def test_a_lost_connection_is_opened_again(settings, redis_client):
    async def call(shared):
        number = await shared.call("CLIENT", "ID")
        redis_client.client_kill_filter(_id=number)
        await asyncio.sleep(0.05)
        return number, await shared.call("CLIENT", "ID")

    first, second = with_connection(settings, call)
    assert first != second


def test_a_server_that_became_a_replica_is_left(settings, redis_client):
    async def call(shared):
        await shared.call("PING")
        redis_client.replicaof("127.0.0.1", free_port())
        calls = [shared.call("SET", "a", "b"), shared.call("ECHO", "a")]
        replies = await asyncio.gather(*calls, return_exceptions=True)
        with pytest.raises(NotPrimary):
            await shared.call("PING")
        redis_client.replicaof("NO", "ONE")
        return replies, await shared.call("ECHO", "back")

    try:
        (refused, echoed), answer = with_connection(settings, call)
    finally:
        redis_client.replicaof("NO", "ONE")
    assert isinstance(refused, exceptions.ReadOnlyError)
    assert echoed == b"a" or isinstance(echoed, exceptions.ConnectionError)
    assert answer == b"back"


def test_a_server_that_hangs_fails_all_callers_in_time_and_is_asked_anew(settings, redis_url):
    proxy = TcpProxy(address_of(redis_url))
    hanging = replace(settings, redis_url=f"redis://127.0.0.1:{proxy.port}")

    async def call(shared):
        await shared.call("PING")
        proxy.switch(BLACK_HOLE)
        started = time.monotonic()
        calls = (shared.call("PING") for _ in range(10))
        failed = await asyncio.gather(*calls, return_exceptions=True)
        took = time.monotonic() - started
        proxy.switch(PASS)
        return failed, took, await shared.call("ECHO", "back")

    try:
        failed, took, answer = with_connection(hanging, call)
    finally:
        proxy.close()
    assert {type(error) for error in failed} == {exceptions.TimeoutError}
    assert took < 4 * TIMEOUT
    assert answer == b"back"


def test_each_reply_has_the_whole_time_whenever_it_was_asked_for(settings, redis_url):
    """The clock is looked at for the call that waits longest, and set to what is left for it."""
    proxy = TcpProxy(address_of(redis_url))
    hanging = replace(settings, redis_url=f"redis://127.0.0.1:{proxy.port}")

    async def failure(shared):
        started = time.monotonic()
        with pytest.raises(exceptions.TimeoutError):
            await shared.call("PING")
        return time.monotonic() - started

    async def call():
        async with connected(hanging, timeout=0.6) as shared:
            await shared.call("PING")  # sets the clock, and is answered
            proxy.switch(BLACK_HOLE)
            await asyncio.sleep(0.4)
            early = asyncio.ensure_future(failure(shared))
            await asyncio.sleep(0.3)
            late = asyncio.ensure_future(failure(shared))
            return await early, await late

    try:
        early, late = asyncio.run(call())
    finally:
        proxy.close()
    assert 0.5 < early < 1.0
    assert late < early  # one that is late delays all that follow


def test_a_server_that_refuses_is_an_error_of_redis(settings):
    refusing = replace(settings, redis_url=f"redis://127.0.0.1:{free_port()}")
    with pytest.raises(exceptions.ConnectionError):
        with_connection(refusing, lambda shared: shared.call("PING"))


def test_password_and_database_of_the_address_are_used(settings, redis_client):
    redis_client.config_set("requirepass", "secret")
    try:
        url = settings.redis_url.replace("redis://", "redis://:secret@").rstrip("/")
        url = f"{url.removesuffix('/0')}/3"
        elsewhere = replace(settings, redis_url=url)
        info = with_connection(elsewhere, lambda shared: shared.call("CLIENT", "INFO"))
        assert b" db=3 " in info
    finally:
        redis_client.execute_command("AUTH", "secret")
        redis_client.config_set("requirepass", "")


@asynccontextmanager
async def encrypted(folder, redis_url):
    """The port of a door to the server that speaks TLS, with a certificate that nobody knows."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
         "/CN=localhost", "-keyout", folder / "key.pem", "-out", folder / "cert.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")

    async def pump(reader, writer):
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()

    async def forward(reader, writer):
        server_reader, server_writer = await asyncio.open_connection(*address_of(redis_url))
        await asyncio.gather(pump(reader, server_writer), pump(server_reader, writer))

    server = await asyncio.start_server(forward, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("requirement", "reply"), [("none", b"in"), ("required", exceptions.ConnectionError)]
)
def test_a_self_signed_certificate_is_taken_where_the_setting_says_so(
    settings, redis_url, tmp_path, requirement, reply
):
    async def call():
        async with encrypted(tmp_path, redis_url) as port:
            changed = replace(
                settings, redis_url=f"rediss://127.0.0.1:{port}", redis_ssl_cert_reqs=requirement
            )
            async with connected(changed, timeout=2) as shared:
                try:
                    return await shared.call("ECHO", "in")
                except exceptions.RedisError as error:
                    return type(error)

    assert asyncio.run(call()) == reply


def test_of_several_addresses_one_that_closes_the_connection_comes_last_the_next_time(
    settings, redis_url
):
    proxies = [TcpProxy(address_of(redis_url)) for _ in range(2)]
    both = ",".join(f"127.0.0.1:{proxy.port}" for proxy in proxies)
    several = replace(settings, redis_url=f"redis://{both}")

    async def call():
        with request_client(several) as client:
            shared = SharedConnection(client, timeout=TIMEOUT)
            places = client.connection_pool.connection_kwargs["places"]
            number = await shared.call("CLIENT", "ID")
            before = tuple(places.candidates())
            with Redis.from_url(redis_url) as other:
                other.client_kill_filter(_id=number)
            await asyncio.sleep(0.1)
            after = tuple(places.candidates())
            assert await shared.call("ECHO", "a") == b"a"  # by way of the other one
            shared.close()
            await asyncio.sleep(0.05)
            return before, after

    try:
        before, after = asyncio.run(call())
    finally:
        for proxy in proxies:
            proxy.close()
    assert after == tuple(reversed(before))
