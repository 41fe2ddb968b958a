"""What a failover of Redis loses of what it acknowledged, and what waiting for replicas costs."""

import os
import signal
import threading
import time
from contextlib import ExitStack
from statistics import median

import click
import redis

from tests.processes.running import wait_until
from tests.redis_servers import KEEPS, REDIS_7_0, VALKEY, port_of, redis_server

_PROGRAM = REDIS_7_0 if REDIS_7_0.exists() else VALKEY
_WRITERS = 4
_UNDER_LOAD = 1.5  # s
_NOTICED_AFTER = 1.0  # s in which a demoted primary goes on, as one that Sentinel demotes
_PATIENCE = 100  # ms of WAIT
_ENTRY = {"batch": "x" * 600}
# How a batch is acknowledged: the server's own options, and for how many replicas WAIT waits.
_WAYS = {
    "by the primary alone": ({}, 0),
    "`min-replicas-to-write 1`": ({"min-replicas-to-write": 1, "min-replicas-max-lag": 1}, 0),
    "`min-replicas-to-write 2`": ({"min-replicas-to-write": 2, "min-replicas-max-lag": 1}, 0),
    "`WAIT 1`": ({}, 1),
    "`WAIT 2`": ({}, 2),
}
_HARMS = ("killed", "demoted")


class _Writer:
    """Adds entries one after the other until the server goes, and remembers what it was told of."""

    def __init__(self, port, replicas):
        self._client = redis.Redis(port=port, socket_timeout=5, protocol=2)
        self._replicas = replicas
        self.acknowledged, self.seconds = set(), []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()

    def _write(self):
        while not self._stop.is_set():
            began = time.perf_counter()
            try:
                with self._client.pipeline(transaction=False) as pipeline:
                    pipeline.xadd("stream", _ENTRY)
                    if self._replicas:
                        pipeline.wait(self._replicas, _PATIENCE)
                    id_, *heard = pipeline.execute()
            except redis.ResponseError:  # too few replicas: the next journal takes the batch
                time.sleep(0.01)
                continue
            except redis.RedisError:
                return
            if heard and heard[0] < self._replicas:
                continue
            self.acknowledged.add(id_)
            self.seconds.append(time.perf_counter() - began)

    def end(self):
        self._stop.set()
        self._thread.join()
        self._client.close()


def replication(folder, rounds):
    """Prints the table: a primary with two replicas, under load."""
    click.echo("| acknowledged | the primary is | acknowledged, a round | ms: median, p99 | lost |")
    click.echo("| --- | --- | --- | --- | --- |")
    for way, (options, replicas) in _WAYS.items():
        for harm in _HARMS:
            acknowledged, seconds, lost = [], [], []
            for number in range(rounds):
                place = folder / f"{way.strip('`').replace(' ', '-')}-{harm}-{number}"
                place.mkdir()
                kept, told, times = _one_failover(place, options, replicas, harm)
                acknowledged.append(len(told))
                lost.append(len(told - kept))
                seconds += times
            seconds.sort()
            click.echo(
                f"| {way} | {harm} | {median(acknowledged):,.0f} |"
                f" {1000 * median(seconds):.2f}, {1000 * seconds[len(seconds) * 99 // 100]:.1f} |"
                f" {' '.join(map(str, lost))} |"
            )


def _one_failover(folder, options, replicas, harm):
    """The ids that the promoted replica has, those acknowledged, and how long they took."""
    with ExitStack() as stack:
        primary, *others = [
            stack.enter_context(
                redis_server(_PROGRAM, folder / name, **KEEPS, **options,
                             **{"repl-diskless-sync-delay": 0})
            )
            for name in ("one", "two", "three")
        ]  # fmt: skip
        for other in others:
            other.replicaof("127.0.0.1", port_of(primary))
        wait_until(lambda: primary.info("replication")["connected_slaves"] == len(others))
        wait_until(lambda: primary.wait(len(others), 100) == len(others))
        writers = [_Writer(port_of(primary), replicas) for _ in range(_WRITERS)]
        time.sleep(_UNDER_LOAD)
        if harm == "killed":
            os.kill(primary.pid, signal.SIGKILL)
            for writer in writers:
                writer.end()
            # As Sentinel does: of the replicas the one that has heard most.
            promoted = max(others, key=lambda one: one.info("replication")["slave_repl_offset"])
            promoted.replicaof("NO", "ONE")
        else:
            promoted = others[0]
            promoted.replicaof("NO", "ONE")
            time.sleep(_NOTICED_AFTER)
            for writer in writers:
                writer.end()
        return (
            {id_ for id_, _ in promoted.xrange("stream")},
            set().union(*(writer.acknowledged for writer in writers)),
            [one for writer in writers for one in writer.seconds],
        )
