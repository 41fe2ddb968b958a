"""The shared connection does with an address what redis-py does with it."""

import asyncio
import ssl
import subprocess

import pytest
from redis import exceptions

from app.intake.redis_client import client_of, for_worker, request_client, worker_client
from app.intake.shared_connection import SharedConnection, _context_of, _reply_error
from app.worker import consumer as consumer_module


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A certificate that signs itself, and its key, which has a password."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-passout", "pass:secret", "-days", "1",
         "-keyout", folder / "key.pem", "-out", folder / "cert.pem", "-subj", "/CN=localhost"],
        check=True, capture_output=True,
    )  # fmt: skip
    return folder


def context(files=None, address="rediss://localhost", **options):
    query = "&".join(f"{name}={value}" for name, value in options.items())
    with client_of(f"{address}?{query}", 1.0) as client:
        pool = client.connection_pool
        return _context_of(pool.connection_class(**pool.connection_kwargs))


def test_a_certificate_is_checked_with_its_name_unless_the_address_says_otherwise():
    checked = context()
    assert (checked.verify_mode, checked.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert checked.minimum_version == ssl.TLSVersion.TLSv1_2
    unchecked = context(ssl_cert_reqs="none")
    assert (unchecked.verify_mode, unchecked.check_hostname) == (ssl.CERT_NONE, False)
    assert context(ssl_check_hostname="false").check_hostname is False


def test_whom_to_trust_is_the_file_that_the_address_names(files):
    system = len(context().get_ca_certs())
    own = context(ssl_ca_certs=files / "cert.pem").get_ca_certs()
    assert len(own) == system + 1
    assert own[-1]["subject"] == ((("commonName", "localhost"),),)


def test_its_own_certificate_is_shown_and_one_that_cannot_be_read_is_an_error(files):
    own = {"ssl_certfile": files / "cert.pem", "ssl_keyfile": files / "key.pem"}
    assert context(**own, ssl_password="secret")
    with pytest.raises(ssl.SSLError):
        context(**own, ssl_password="wrong")
    with pytest.raises(OSError, match="No such file"):
        context(ssl_certfile=files / "nowhere.pem")


def test_ciphers_and_versions_are_those_of_the_address():
    [*_, last] = context(ssl_ciphers="ECDHE-RSA-AES128-GCM-SHA256").get_ciphers()
    assert last["name"] == "ECDHE-RSA-AES128-GCM-SHA256"
    newest = int(ssl.TLSVersion.TLSv1_3)
    assert context(ssl_min_version=newest).minimum_version == ssl.TLSVersion.TLSv1_3


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("ERR no", exceptions.ResponseError, "ERR no"),
        ("OOM command not allowed", exceptions.OutOfMemoryError, "OOM command not allowed"),
        ("READONLY no", exceptions.ReadOnlyError, "READONLY no"),
        ("LOADING it", exceptions.BusyLoadingError, "LOADING it"),
        ("NOSCRIPT x", exceptions.NoScriptError, "NOSCRIPT x"),
        ("NOPERM x", exceptions.NoPermissionError, "NOPERM x"),
        ("MASTERDOWN x", exceptions.MasterDownError, "MASTERDOWN x"),
        ("CLUSTERDOWN x", exceptions.ClusterDownError, "CLUSTERDOWN x"),
        ("TRYAGAIN x", exceptions.TryAgainError, "TRYAGAIN x"),
    ],
)
def test_a_refusal_has_its_own_error_and_says_what_redis_said(text, kind, said):
    error = _reply_error(text)
    assert type(error) is kind
    assert str(error) == said


@pytest.mark.parametrize("word", ["MOVED", "ASK"])
def test_a_redirection_names_slot_and_node(word):
    error = _reply_error(f"{word} 3999 127.0.0.1:6381")
    assert type(error).__name__ == {"MOVED": "MovedError", "ASK": "AskError"}[word]
    assert (error.slot_id, error.host, error.port) == (3999, "127.0.0.1", 6381)


@pytest.mark.parametrize(
    ("address", "greeting"),
    [
        ("redis://h", []),
        ("redis://h/0", []),
        ("redis://h/3", [("SELECT", 3)]),
        ("redis://:p@h", [("AUTH", "p")]),
        ("redis://u:p@h/2?client_name=n", [("AUTH", "u", "p"), ("CLIENT", "SETNAME", "n"),
                                           ("SELECT", 2)]),
    ],
)  # fmt: skip
def test_it_greets_with_what_the_address_says(address, greeting):
    with client_of(address, 1.0) as client:
        assert SharedConnection(client, timeout=1.0)._greeting() == greeting


def test_one_that_was_never_opened_can_be_closed(redis_url):
    async def close():
        with client_of(redis_url, 1.0) as client:
            never = SharedConnection(client, timeout=1.0)
            never.close()
            opening = SharedConnection(client, timeout=1.0)
            call = asyncio.ensure_future(opening.call("PING"))
            await asyncio.sleep(0)
            opening.close()
            with pytest.raises((asyncio.CancelledError, exceptions.ConnectionError)):
                await call
            opened = SharedConnection(client, timeout=1.0)
            assert await opened.call("PING") == b"PONG"
            waiting = opened.call("BLPOP", "nothing", 5)
            await asyncio.sleep(0.01)
            opened.close()
            with pytest.raises(exceptions.ConnectionError):
                await waiting

    asyncio.run(close())


def test_a_request_waits_for_redis_a_moment_and_the_worker_longer_than_its_reads(settings):
    """And nothing is sent a second time behind the caller's back."""

    def told(client):
        options = client.connection_pool.connection_kwargs
        timeouts = options["socket_timeout"], options["socket_connect_timeout"]
        return *timeouts, options["retry"].get_retries(), options["protocol"]

    with request_client(settings) as web, worker_client(settings) as worker:
        assert told(web) == (0.25, 0.25, 0, 2)
        assert told(worker) == (2.0, 1.0, 0, 2)
    assert 1_000 * told(worker)[0] > consumer_module.BLOCK
    with client_of("redis://h?max_connections=7&protocol=3&socket_timeout=9", 0.5) as client:
        assert told(client) == (0.5, 0.5, 0, 2)
        assert client.connection_pool.max_connections == 7
    with for_worker(client) as longer:
        assert longer.connection_pool.max_connections == 7
