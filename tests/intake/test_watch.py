"""What a web process looks at beside its requests."""

import threading

from app.intake.watch import Watch


def test_a_stop_waits_for_the_look_that_is_under_way():
    looking, is_over = threading.Event(), threading.Event()

    def probe():
        looking.set()
        is_over.wait(0.3)
        is_over.set()

    watch = Watch(lambda: None, probe, ask_every=60)
    watch.start()
    assert looking.wait(5)
    watch.stop()
    assert is_over.is_set()


def test_what_was_never_started_can_be_stopped():
    Watch(lambda: None, lambda: None, ask_every=60).stop()
