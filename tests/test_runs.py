"""A run of these tests, as it looks to whoever started it."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
CONFIGURES_LOGGING = "tests/test_readmes.py"
STARTS_POSTGRES = "tests/store/test_migrate.py"


@pytest.mark.slow
def test_a_run_says_nothing_after_its_summary():
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", CONFIGURES_LOGGING, STARTS_POSTGRES],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert run.stderr == ""
    assert " passed in " in run.stdout.splitlines()[-1]
