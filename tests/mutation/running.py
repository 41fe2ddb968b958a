"""A mutant's tests, in a copy of the tree."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil
import psycopg
from psycopg import sql

from app.dev.servers import postgres
from tests.mutation.mutants import mutated

TEST_TIMEOUT = 60  # s
START = 60  # s
STOP = 30  # s


class Outcome(NamedTuple):
    verdict: str  # killed, timeout, survived or unreached
    by: str  # the test that failed
    seconds: float


class Place(NamedTuple):
    """Where mutants run one after the other: a copy of the tree, and a server for their tests."""

    tree: Path
    postgres_url: str


@contextmanager
def copy_of(root):
    """The tree without what git ignores."""
    names = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"],
        cwd=root, capture_output=True, text=True, check=True,
    ).stdout.split("\0")  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="genlook-mutation-") as folder:
        for name in filter(None, names):
            if (root / name).exists():
                (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(root / name, Path(folder) / name)
        yield Path(folder)


@contextmanager
def place(root):
    folders = tempfile.TemporaryDirectory(prefix="genlook-tests-")
    with copy_of(root) as tree, folders as folder, postgres(Path(folder) / "postgres") as url:
        with psycopg.connect(url, autocommit=True) as admin:
            admin.execute("ALTER SYSTEM SET fsync = off")
            admin.execute("SELECT pg_reload_conf()")
        yield Place(tree, url)


def try_out(place, mutant, tests, expected):
    """Break the copy, run `tests` (`expected` seconds long) there, and mend it again.

    A mutant is killed if a test fails; one of processes, which depend on time, must fail twice.
    """
    if not tests:
        return Outcome("unreached", "", 0.0)
    path = place.tree / mutant.path
    before, after = mutated(place.tree, mutant)
    started = time.monotonic()
    try:
        path.write_text(after)
        failed, by = _run(place, tests, 3 * expected + START)
        if failed and by.startswith("tests/processes/"):
            failed = _run(place, [by], TEST_TIMEOUT + START)[0]
    finally:
        path.write_text(before)
    verdict = "timeout" if failed is None else "killed" if failed else "survived"
    return Outcome(verdict, by if failed else "", time.monotonic() - started)


def _run(place, tests, limit):
    """Whether a test failed (None: it took too long), and its name."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as wanted, \
            tempfile.TemporaryFile("w+") as output:  # fmt: skip
        json.dump(tests, wanted)
        wanted.flush()
        modules = dict.fromkeys(test.partition("::")[0] for test in tests)
        pytest = subprocess.Popen(
            [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "--tb=no", "-rfE",
             "-p", "tests.mutation.chosen", "-p", "no:cacheprovider",
             "--timeout", str(TEST_TIMEOUT), *modules],
            cwd=place.tree, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            env=os.environ | {"MUTATION_TESTS": wanted.name, "PYTHONDONTWRITEBYTECODE": "1",
                              "TESTS_POSTGRES_URL": place.postgres_url},
        )  # fmt: skip
        try:
            code = pytest.wait(limit)
        except subprocess.TimeoutExpired:
            _stop(pytest)
            return None, ""
        finally:
            _clear(place.postgres_url)
        output.seek(0)
        failure = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", output.read(), re.MULTILINE)
        name = failure[1] if failure else f"pytest ended with {code}"
        return code != 0, name if code else ""


def _clear(postgres_url):
    """Drop what the tests made and, broken off, may have left."""
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        for made, drop in (
            ("SELECT datname FROM pg_database WHERE {}", "DROP DATABASE {} WITH (FORCE)"),
            ("SELECT rolname FROM pg_roles WHERE {}", "DROP ROLE {}"),
        ):
            name = made.split()[1]
            for (left,) in admin.execute(made.format(f"{name} !~ '^(postgres|pg_|template)'")):
                admin.execute(sql.SQL(drop).format(sql.Identifier(left)))


def _stop(pytest):
    """With the servers of its fixtures, which it stops itself if it still can."""
    children = psutil.Process(pytest.pid).children(recursive=True)
    pytest.send_signal(signal.SIGINT)
    try:
        pytest.wait(STOP)
    except subprocess.TimeoutExpired:
        pytest.kill()
        pytest.wait()
    for child in psutil.wait_procs(children, 5)[1]:
        child.kill()
