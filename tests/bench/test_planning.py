"""The plan follows from what was measured, and the README shows what it says."""

import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from tests.bench import planning
from tests.bench.planning import MEASURED, Load, plan

ROOT = Path(__file__).parents[2]


@pytest.fixture
def measured(monkeypatch):
    def measured(name, value):
        monkeypatch.setitem(MEASURED, name, MEASURED[name] | {"value": value})

    return measured


def test_disk_is_a_days_events_times_the_days_they_are_kept(measured):
    measured("disk_bytes_an_event", 300)
    found = plan(Load(290, days=395))
    assert found.disk_a_day == 290 * 86_400 * 300
    assert found.disk == pytest.approx(2.97e12, rel=0.01)


def test_redis_holds_the_ids_of_a_window_and_a_half_and_an_hour_of_batches(measured):
    measured("seen_id_bytes", 40)
    measured("waiting_batch_bytes", 1_000)
    found = plan(Load(1_000, window=100_000))
    assert found.seen_ids == 1_000 * 150_000 * 40
    assert found.backlog == 1_000 / 1.6 * 3_600 * 1_000
    assert found.redis > found.seen_ids + found.backlog


def test_machines_are_for_the_peak_and_never_one_alone(measured):
    measured("worker_us_an_event", 30)
    measured("web_us_a_batch", 96)
    small, large = plan(Load(1)), plan(Load(100_000, peak=4))
    assert (small.web_machines, small.workers) == (2, 2)
    assert large.workers == 20  # 400,000 events/s of 30 µs on cores that are 60 % busy
    assert large.web_machines == 10  # 250,000 batches/s of 96 µs
    assert large.connections == 10 * 4 * 5 + 20 * 6 + 2


def test_each_figure_says_which_command_measures_it_again():
    options = defaultdict(set)
    for one in MEASURED.values():
        python, *command = one["command"].split()
        assert (python, *command[:2]) == ("python", "-m", "tests.bench")
        options[*command[:3]] |= {word for word in command[3:] if word.startswith("--")}
    for command, named in options.items():
        shown = subprocess.run(
            [sys.executable, *command, "--help"], cwd=ROOT, capture_output=True, text=True
        )
        assert shown.returncode == 0
        assert {word for word in named if word not in shown.stdout} == set()


def test_the_readme_shows_the_plan():
    text = (ROOT / "app" / "README.md").read_text()
    assert planning.table() in text
    assert planning.figures() in text


def test_the_command_prints_each_line_with_its_source():
    command = [sys.executable, "-m", "tests.bench", "plan", "--events-per-second", "290"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout
    for what in ("web", "worker", "Postgres", "disk", "Redis", "memory of Redis"):
        [line] = [line for line in shown.splitlines() if line.startswith(f"{what}: ")]
        assert "python -m tests.bench" in line
    assert "connections: " in shown
