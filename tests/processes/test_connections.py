"""Callers that send little, much or nothing, against the web process of the Procfile."""

import contextlib
import socket
import time

import psutil
import pytest

from tests.calls import PATH, query
from tests.processes.running import Running, answers, environment, free_port, wait_until

pytestmark = pytest.mark.slow


def memory(web):
    """Resident bytes of the process and its children."""
    root = psutil.Process(web.process.pid)
    return sum(one.memory_info().rss for one in [root, *root.children(recursive=True)])


def open_sockets(stack, web, number):
    sockets = []
    for _ in range(number):
        with contextlib.suppress(OSError):
            sockets.append(socket.create_connection(("127.0.0.1", web.port), timeout=5))
            stack.enter_context(sockets[-1])
    return sockets


def test_a_web_process_with_idle_connections_stops_in_about_a_second(start_web):
    web = start_web()
    with contextlib.ExitStack() as stack:
        for one in open_sockets(stack, web, 20):
            one.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
            assert one.recv(1000).startswith(b"HTTP/1.1 200 ")
        open_sockets(stack, web, 5)  # and silent ones
        assert web.terminate() < 4
    assert web.process.returncode == 0


def test_large_bodies_without_a_signature_take_no_memory(start_web):
    web = start_web(WEB_CONCURRENCY="1")
    before = memory(web)
    target = f"{PATH}?{query(secret='wrong')}"
    head = f"POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n".encode()
    with contextlib.ExitStack() as stack:
        for one in open_sockets(stack, web, 300):
            one.settimeout(0.5)
            with contextlib.suppress(OSError):
                one.sendall(head + b"x" * 2_900_000)
        assert memory(web) - before < 60 * 1024 * 1024
        assert answers(f"{web.url}/healthz")


@pytest.mark.timeout(180)
def test_silent_connections_lock_nobody_out_for_long(settings, tmp_path):
    port = free_port()
    env = environment(settings, PORT=str(port), WEB_CONCURRENCY="1")
    command = (
        "sh -c 'ulimit -n 256; exec gunicorn --config config/gunicorn.py \"app:create_app()\"'"
    )
    web = Running("web", env, tmp_path / "web.log", command)
    web.port, web.url = port, f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: answers(f"{web.url}/healthz"))
        with contextlib.ExitStack() as stack:
            open_sockets(stack, web, 400)
            started = time.monotonic()
            wait_until(lambda: answers(f"{web.url}/healthz"), 60)
            assert time.monotonic() - started < 32
    finally:
        web.kill()
