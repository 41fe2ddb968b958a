"""PgBouncer in transaction mode between us and Postgres: Debian's, really started."""

import os
import pwd
import shutil
import subprocess
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from app.store import connections, writers
from app.store.connections import connect, request_pool
from tests.calls import SHOP, Caller, body, event
from tests.draining import drain
from tests.health.test_check import check
from tests.processes.running import flask, free_port, wait_until

PGBOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PGBOUNCER, reason="there is no pgbouncer: apt-get install pgbouncer"),
]

# As app/store/README.md has it.
CONFIG = """
[databases]
* = host={host} port=5432 user=postgres

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
auth_type = any
pool_mode = transaction
default_pool_size = {size}
max_client_conn = 500
ignore_startup_parameters = extra_float_digits
unix_socket_dir =
logfile =
pidfile =
"""
SIZE = 4


@pytest.fixture
def bouncer(database_url, tmp_path):
    """The database's address by way of PgBouncer, and of its console."""
    told = psycopg.conninfo.conninfo_to_dict(database_url)
    port = free_port()
    file = tmp_path / "pgbouncer.ini"
    file.write_text(CONFIG.format(host=told["host"], port=port, size=SIZE))
    as_root = os.geteuid() == 0  # as which it refuses to run
    if as_root:
        for folder in [file, *file.parents][:3]:
            folder.chmod(0o755)
    user = pwd.getpwnam("nobody").pw_name if as_root else None
    with (tmp_path / "pgbouncer.log").open("wb") as log:
        process = subprocess.Popen([PGBOUNCER, file], stdout=log, stderr=log, user=user)
    url = f"postgresql://postgres@127.0.0.1:{port}"
    try:
        wait_until(lambda: answers(f"{url}/{told['dbname']}"))
        yield f"{url}/{told['dbname']}", f"{url}/pgbouncer"
    finally:
        process.terminate()
        process.wait()


def answers(url):
    with suppress(psycopg.OperationalError), psycopg.connect(url):
        return True
    return False
