import shutil
import tempfile
from pathlib import Path

import pytest

from tests.campaigns.ledger import Ledger
from tests.campaigns.system import running_system

_reports = {}  # of each test with a ledger, by its name


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
def ledger(system, request):
    ledger = Ledger(system.web_port, seed=7)
    yield ledger
    ledger.stop()
    _reports[request.node.name.removeprefix("test_")] = ledger.report(system.stored())


def pytest_terminal_summary(terminalreporter):
    """What each fault has cost, as the table that the README shows."""
    if not _reports:
        return
    columns = ("acknowledged", "stored", "lost", "twice", "p50_ms", "p99_ms", "max_ms")
    terminalreporter.write_line(f"| fault | {' | '.join(columns)} | replies |")
    terminalreporter.write_line("| --- " * (len(columns) + 2) + "|")
    for name, report in _reports.items():
        replies = ", ".join(f"{number} × {reply}" for reply, number in report["replies"].items())
        cells = [str(report[column]) for column in columns]
        terminalreporter.write_line(
            f"| {name.replace('_', ' ')} | {' | '.join(cells)} | {replies} |"
        )
