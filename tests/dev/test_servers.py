import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from app.dev import servers
from app.dev.servers import ServerError, claim, in_background, postgres, valkey

pytestmark = pytest.mark.slow

BOTH = ["postgres", "valkey"]


@contextmanager
def temporary_folder():
    # Not pytest's own folder: as root, Postgres runs as another user, who must get in here.
    folder = Path(tempfile.mkdtemp(prefix="genlook-servers-")).resolve()
    yield folder
    for process in running_in(folder):
        process.kill()
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def used_folder():
    """One in which Postgres has run before: making a new one takes 2 s."""
    with temporary_folder() as folder:
        with postgres(folder / "postgres"):
            pass
        yield folder


@pytest.fixture
def empty_folder():
    with temporary_folder() as folder:
        yield folder


@pytest.fixture
def folder(used_folder, empty_folder):
    """A copy of it."""
    subprocess.run(["cp", "-a", used_folder / "postgres", empty_folder], check=True)
    return empty_folder


def running_in(folder):
    """The database servers that work in `folder`, found without the code under test."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if Path(process.cwd()).is_relative_to(folder):
                found.append(process)
    return found


def gone(folder):
    deadline = time.monotonic() + 15
    while running_in(folder) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not running_in(folder)


def query(url, statement):
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchone() if cursor.description else None


def write(urls):
    query(urls["DATABASE_URL"], "CREATE TABLE IF NOT EXISTS kept AS SELECT 1 AS one")
    with redis.Redis.from_url(urls["REDIS_URL"]) as client:
        client.set("kept", "1")


def read(urls):
    with redis.Redis.from_url(urls["REDIS_URL"]) as client:
        return query(urls["DATABASE_URL"], "SELECT one FROM kept"), client.get("kept")


@contextmanager
def server_process(folder):
    """The module as `flask dev` runs it, and its URLs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "app.dev.servers", str(folder), *BOTH],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=servers.ROOT,
    )
    with process:
        yield process, json.loads(process.stdout.readline())


def test_postgres_finds_its_data_again(folder):
    with postgres(folder / "postgres") as url:
        query(url, "CREATE TABLE kept AS SELECT 1 AS one")
    assert gone(folder)
    with postgres(folder / "postgres") as url:
        assert query(url, "SELECT one FROM kept") == (1,)


def test_the_psql_beside_postgres_reaches_it(folder):
    with postgres(folder / "postgres") as url:
        done = subprocess.run([servers.PSQL, url, "-tc", "SELECT 7"], capture_output=True)
        assert done.stdout.split() == [b"7"]


def test_valkey_finds_its_data_again(empty_folder):
    with valkey(empty_folder / "valkey") as url, redis.Redis.from_url(url) as client:
        client.set("kept", "1")
    assert gone(empty_folder)
    with valkey(empty_folder / "valkey") as url, redis.Redis.from_url(url) as client:
        assert client.get("kept") == b"1"


def test_valkey_keeps_an_append_only_file_and_evicts_nothing(empty_folder):
    with valkey(empty_folder / "valkey") as url, redis.Redis.from_url(url) as client:
        assert client.info("persistence")["aof_enabled"] == 1
        assert client.info("memory")["maxmemory_policy"] == "noeviction"


@pytest.mark.parametrize("status", ["ready", "starting"])
def test_a_pid_file_that_names_a_stranger_does_not_stop_postgres_from_starting(folder, status):
    with postgres(folder / "postgres"):
        lines = (folder / "postgres" / "postmaster.pid").read_text().splitlines()
    lines[0], lines[7] = str(os.getpid()), status
    (folder / "postgres" / "postmaster.pid").write_text("\n".join(lines) + "\n")
    with postgres(folder / "postgres") as url:
        assert query(url, "SELECT 1") == (1,)


def test_a_torn_pid_file_does_not_stop_postgres_from_starting(folder):
    with postgres(folder / "postgres"):
        pass
    (folder / "postgres" / "postmaster.pid").write_text("")
    with postgres(folder / "postgres") as url:
        assert query(url, "SELECT 1") == (1,)


def test_postgres_starts_after_its_postmaster_was_killed(folder):
    with in_background(folder, ["postgres"]) as (urls, _):
        pid = int((folder / "postgres" / "postmaster.pid").read_text().split()[0])
        query(urls["DATABASE_URL"], "CREATE TABLE kept AS SELECT 1 AS one")
        os.kill(pid, signal.SIGKILL)
    with postgres(folder / "postgres") as url:
        assert query(url, "SELECT one FROM kept") == (1,)


def test_a_path_too_long_for_a_socket_will_do(folder):
    deep = folder / ("long" * 25)
    deep.mkdir()
    (folder / "postgres").rename(deep / "postgres")
    with postgres(deep / "postgres") as url:
        assert query(url, "SELECT 1") == (1,)


@pytest.mark.parametrize("name", ["my project", 'it\'s $HOME; `really` "new"'])
def test_a_path_that_a_shell_would_take_apart_will_do(empty_folder, name):
    folder = empty_folder / name
    for _ in range(2):
        with in_background(folder, BOTH) as (urls, _):
            write(urls)
            assert read(urls) == ((1,), b"1")
            assert (folder / "postgres" / "PG_VERSION").exists()
            assert (folder / "valkey" / "appendonlydir").exists()
        assert gone(empty_folder)


def test_servers_whose_process_is_killed_are_stopped_at_the_end(folder):
    with in_background(folder, BOTH) as (urls, process):
        write(urls)
        process.kill()
        process.wait()
        assert len(running_in(folder)) > 2
    assert running_in(folder) == []
    with in_background(folder, BOTH) as (urls, _):
        assert read(urls) == ((1,), b"1")


def test_servers_that_another_run_has_taken_over_are_left_to_it(folder):
    with in_background(folder, BOTH) as (_, first):
        first.kill()
        first.wait()
        second = in_background(folder, BOTH)
        urls, _ = second.__enter__()
    write(urls)
    second.__exit__(None, None, None)


def test_a_locale_that_this_machine_lacks_does_not_matter(empty_folder, monkeypatch):
    monkeypatch.setenv("LC_ALL", "xx_YY.UTF-8")
    with postgres(empty_folder / "postgres") as url:
        assert query(url, "SHOW server_encoding") == ("UTF8",)
    assert os.environ["LC_ALL"] == "xx_YY.UTF-8"


def test_the_servers_stop_when_their_stdin_closes(folder):
    with server_process(folder) as (process, urls):
        write(urls)
        process.stdin.close()
        assert process.wait(15) == 0
        assert running_in(folder) == []
    with in_background(folder, BOTH) as (urls, _):
        assert read(urls) == ((1,), b"1")


def test_the_servers_stop_cleanly_on_sigterm(folder):
    with server_process(folder) as (process, _):
        while process.poll() is None:  # again and again, as a platform may send it
            process.terminate()
            time.sleep(0.01)
        assert process.returncode == 0
        assert running_in(folder) == []


def test_the_servers_are_out_of_reach_of_the_terminals_signals(folder):
    with in_background(folder, BOTH):
        groups = {os.getpgid(process.pid) for process in running_in(folder)}
        assert os.getpgrp() not in groups


def test_the_servers_go_when_their_parent_is_killed(folder):
    script = (
        "import sys, time; from pathlib import Path; from app.dev.servers import in_background\n"
        "with in_background(Path(sys.argv[1]), ['postgres', 'valkey']): print(); time.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-uc", script, str(folder)], stdout=subprocess.PIPE, cwd=servers.ROOT
    )
    with parent:
        parent.stdout.readline()
        assert len(running_in(folder)) > 2
        parent.kill()
        assert gone(folder)


def test_servers_that_a_killed_run_left_behind_are_replaced(folder):
    with server_process(folder) as (process, urls):
        write(urls)
        process.kill()
    left = running_in(folder)
    assert {"postgres", "valkey-server"} <= {process.name() for process in left}
    with in_background(folder, BOTH) as (urls, _):
        assert not set(left) & set(running_in(folder))
        assert read(urls) == ((1,), b"1")
    assert gone(folder)


def test_one_folder_has_one_user(empty_folder, monkeypatch):
    monkeypatch.setattr(servers, "LOCK_TIMEOUT", 0.2)
    with (
        claim(empty_folder),
        pytest.raises(ServerError, match="choose another folder"),
        claim(empty_folder),
    ):
        pass


def test_a_folder_is_waited_for_while_its_last_user_stops(folder):
    with server_process(folder) as (process, _):
        process.kill()
        with claim(folder):
            pass


def test_an_error_of_the_background_process_is_raised_here(folder):
    (folder / "valkey").write_text("not a folder")
    with pytest.raises(ServerError, match=r"Cannot write to .*valkey"):
        in_background(folder, BOTH).__enter__()
    assert gone(folder)


def test_a_folder_that_cannot_be_written_to_is_named(empty_folder):
    (empty_folder / "file").touch()
    with pytest.raises(ServerError, match=r"Cannot write to .*file"), claim(empty_folder / "file"):
        pass


def test_a_database_of_another_user_is_refused(folder, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1)  # only root could give the folder away
    with pytest.raises(ServerError, match="belongs to"), postgres(folder / "postgres"):
        pass
