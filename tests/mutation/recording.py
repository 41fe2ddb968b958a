"""A plugin of pytest: names each test to coverage, and writes down how long each one took."""

import json
import os
from collections import Counter
from pathlib import Path

import coverage
import pytest

_seconds = Counter()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    coverage.Coverage.current().switch_context(item.nodeid)
    result = yield
    coverage.Coverage.current().switch_context("")
    return result


def pytest_runtest_logreport(report):
    if report.outcome == "passed":
        _seconds[report.nodeid] += report.duration
    else:
        _seconds[report.nodeid] = -1e9  # a test that fails or is skipped tells nothing of a mutant


def pytest_sessionfinish():
    path = Path(os.environ["MUTATION_SECONDS"])
    known = json.loads(path.read_text()) if path.exists() else {}
    passed = {test: round(seconds, 3) for test, seconds in _seconds.items() if seconds >= 0}
    path.write_text(json.dumps(known | passed, indent=0))
