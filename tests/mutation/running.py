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

from tests.mutation.mutants import mutated

TEST_TIMEOUT = 60  # s
START = 60  # s, for the servers
STOP = 30  # s


class Outcome(NamedTuple):
    verdict: str  # killed, timeout, survived, flaky or unreached
    by: str  # the test that failed
    seconds: float


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


def try_out(tree, mutant, tests, expected):
    """Break the copy at `tree`, run `tests` (`expected` seconds long) there, and mend it again.

    A mutant is killed if a test fails, and fails once more when it runs alone.
    """
    if not tests:
        return Outcome("unreached", "", 0.0)
    before, after = mutated(tree, mutant)
    started = time.monotonic()
    try:
        (tree / mutant.path).write_text(after)
        failed, by = _run(tree, tests, 3 * expected + START)
        verdict = "survived" if failed is False else "timeout" if failed is None else "killed"
        if verdict == "killed" and by in tests and not _run(tree, [by], TEST_TIMEOUT + START)[0]:
            verdict = "flaky"
    finally:
        (tree / mutant.path).write_text(before)
    return Outcome(verdict, by, time.monotonic() - started)


def _run(tree, tests, limit):
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
            cwd=tree, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            env=os.environ | {"MUTATION_TESTS": wanted.name, "PYTHONDONTWRITEBYTECODE": "1"},
        )  # fmt: skip
        try:
            code = pytest.wait(limit)
        except subprocess.TimeoutExpired:
            _stop(pytest)
            return None, ""
        output.seek(0)
        failure = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", output.read(), re.MULTILINE)
        return code != 0, failure[1] if failure else f"pytest ended with {code}"


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
