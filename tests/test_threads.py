"""What runs beside requests and batches keeps no process from ending, and has a name."""

import threading
from contextlib import closing

from app.intake.drainer import Drainer
from app.intake.nodes import Nodes
from app.intake.spool import Spool
from app.intake.watch import Watch
from app.metrics.reporter import Reporter
from app.worker.duty import Duty


class Waiting(Duty):
    name = "waiting"

    def step(self):
        return 60.0

    def let_go(self):
        pass


def test_each_thread_ends_with_its_process_and_is_named_for_what_it_does(tmp_path, redis_client):
    before = set(threading.enumerate())
    stop = threading.Event()
    with closing(Spool(tmp_path / "spool", max_bytes=2**20)) as spool:
        drainer = Drainer(spool, tmp_path, lambda batch: True)
        watch = Watch(lambda: None, lambda: None, ask_every=60)
        reporter = Reporter(Nodes(redis_client), [], kind="web", revision="")
        for _ in range(2):
            drainer.start()  # further calls do nothing
        watch.start()
        reporter.start()
        duty = Waiting().start(stop)
        started = set(threading.enumerate()) - before
        stop.set()
        for one in (drainer, watch, reporter):
            one.stop()
        duty.join(5)
    assert sorted(thread.name for thread in started) == [
        "drainer", "reporter", "waiting", "watch"
    ]  # fmt: skip
    assert all(thread.daemon for thread in started)
