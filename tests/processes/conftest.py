import pytest

from tests.processes.running import ROOT, Running, answers, environment, free_port, wait_until


@pytest.fixture
def start(settings, tmp_path):
    """Starts a line of the Procfile; whatever still runs at the end is killed."""
    started = []

    def start(line, release=ROOT, **variables):
        log = tmp_path / f"{line}-{len(started)}.log"
        env = environment(settings, **variables)
        started.append(Running(line, env, log, release=release))
        return started[-1]

    yield start
    for process in started:
        process.kill()


@pytest.fixture
def start_web(start):
    """Starts the web process and waits for it; has its address as `url`."""

    def start_web(**variables):
        port = free_port()
        web = start("web", PORT=str(port), **variables)
        web.port = port
        web.url = f"http://127.0.0.1:{port}"
        wait_until(lambda: answers(f"{web.url}/healthz"))
        return web

    return start_web


@pytest.fixture
def start_worker(start):
    def start_worker(**variables):
        worker = start("worker", **variables)
        wait_until(lambda: "worker started" in worker.output())
        return worker

    return start_worker
