"""Several processes with their output in one place and one end for all.

All are in one process group. Its leader is a watcher, `python -m app.dev.processes`, which only
waits for its stdin to close. That happens where `flask dev` itself is killed, and the watcher then
ends the group. Where anything else ends, the watcher included, `flask dev` ends the group. (A child
that has not joined it yet, between fork and exec, holds the watcher's stdin open: none is missed.)
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO

import click
import psutil

from app.dev import ROOT

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STOP_TIMEOUT = 25.0  # s, as on the platform
ABANDONED_TIMEOUT = 2.0  # s; less than the next start waits for the folder and the ports
_COLOURS = ("cyan", "yellow", "green", "magenta", "blue")
_WIDTH = len("storefront")


class Processes:
    """A context: at its end all that was started has ended."""

    def __init__(self) -> None:
        self._started: dict[str, subprocess.Popen[bytes]] = {}
        self._readers: list[threading.Thread] = []
        self._output = Output()

    def __enter__(self) -> "Processes":
        self._watcher = subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-m", __name__], cwd=ROOT, stdin=subprocess.PIPE, process_group=0
        )
        return self

    def start(self, name: str, command: Sequence[str], env: Mapping[str, str]) -> None:
        process = subprocess.Popen(  # noqa: S603 - our own commands
            command,
            cwd=ROOT,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            process_group=self._watcher.pid,
        )
        colour = _COLOURS[len(self._started) % len(_COLOURS)]
        self._started[name] = process
        self._output.line("system", f"{name} started (pid={process.pid})")
        reader = threading.Thread(
            target=self._output.copy, args=(name, process.stdout, colour), daemon=True
        )
        reader.start()
        self._readers.append(reader)

    def ended(self) -> bool:
        """Whether any has, and all must."""
        processes = [self._watcher, *self._started.values()]
        return any(process.poll() is not None for process in processes)

    def __exit__(self, *_: object) -> None:
        for signum in STOP_SIGNALS:  # another one must not cut the stop short
            signal.signal(signum, signal.SIG_IGN)
        for name, process in self._started.items():
            if process.poll() is not None:
                self._output.line("system", f"{name} stopped (rc={process.returncode})")
        self._output.line("system", "stopping everything")
        end_group(self._watcher.pid, STOP_TIMEOUT)
        for process in (self._watcher, *self._started.values()):
            process.wait()
        for reader in self._readers:
            reader.join(1)


class Output:
    """Lines on stdout, each with its time and whose it is. When nobody reads it any more,
    everything stops."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def copy(self, name: str, source: IO[bytes], colour: str) -> None:
        with source:
            for line in source:
                self.line(name, line.decode(errors="replace").rstrip("\r\n"), colour)

    def line(self, name: str, text: str, colour: str | None = None) -> None:
        prefix = click.style(f"{time.strftime('%H:%M:%S')} {name:<{_WIDTH}} |", fg=colour)
        with self._lock:
            try:
                click.echo(f"{prefix} {text}")  # without colours where it is no terminal
            except OSError:
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                os.kill(os.getpid(), signal.SIGTERM)


def end_group(group: int, timeout: float) -> None:
    """SIGTERM for all, SIGKILL after `timeout` seconds for what is left, its leader among it."""
    _signal(group, signal.SIGTERM)
    deadline = time.monotonic() + timeout
    while _is_at_work(group) and time.monotonic() < deadline:
        time.sleep(0.1)
    _signal(group, signal.SIGKILL)


def _signal(group: int, signum: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, signum)


def _is_at_work(group: int) -> bool:
    """Whether the group has members besides its leader and those that have ended."""
    return any(
        process.info["status"] != psutil.STATUS_ZOMBIE and _group_of(process.pid) == group
        for process in psutil.process_iter(["status"])
        if process.pid != group
    )


def _group_of(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except OSError:
        return None


def main() -> None:
    for signum in STOP_SIGNALS:
        signal.signal(signum, signal.SIG_IGN)
    sys.stdin.read()
    end_group(os.getpgrp(), ABANDONED_TIMEOUT)


if __name__ == "__main__":
    main()
