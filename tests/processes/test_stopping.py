"""SIGTERM while a web process starts."""

import pytest

from tests.processes.running import Running, environment, free_port, wait_until

pytestmark = pytest.mark.slow


def test_a_web_that_is_told_to_stop_while_its_processes_boot_ends_soon(start_web):
    for _ in range(5):
        web = start_web(WEB_CONCURRENCY="4")  # the first of them has answered
        assert web.terminate() < 10
        assert web.process.returncode == 0


def test_a_signal_that_comes_right_after_the_fork_is_not_lost(settings, tmp_path):
    (tmp_path / "slow.py").write_text(
        "import time\nfrom config.gunicorn import *\n"
        "def post_fork(server, worker):\n    print('forked', flush=True)\n    time.sleep(1)\n"
    )
    web = Running(
        "web",
        environment(settings, PORT=str(free_port())),
        tmp_path / "web.log",
        f"gunicorn --config {tmp_path}/slow.py 'app:create_app()'",
    )
    try:
        wait_until(lambda: "forked" in web.output())
        assert web.terminate() < 10
        assert web.process.returncode == 0
    finally:
        web.kill()
