import shutil
import tempfile
from pathlib import Path

import pytest

from tests.campaigns.ledger import Ledger
from tests.campaigns.system import running_system


def pytest_addoption(parser):
    parser.addoption("--campaign-minutes", type=float, default=10, help="of a campaign's faults")
    parser.addoption("--campaign-seed", type=int, default=7, help="makes a campaign repeatable")
    parser.addoption("--campaign-cases", type=int, default=20_000, help="of bad input")


@pytest.fixture
def system():
    folder = Path(tempfile.mkdtemp(prefix="genlook-campaign-")).resolve()
    folder.chmod(0o755)
    with running_system(folder) as system:
        yield system
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def ledger(system):
    ledger = Ledger(system.web_port, seed=7)
    yield ledger
    ledger.stop()
