"""What a process tells about itself."""

import os
import socket
import sqlite3
import time
import tomllib
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from platform import python_version
from typing import Self

import orjson

from app.intake.spool import Backlog, Spool

HOST = os.environ.get("DYNO") or socket.gethostname()
_STARTED_AT = time.time()
_PROJECT = Path(__file__).parents[2] / "pyproject.toml"
_MEMORY = Path("/proc/self/statm")  # Linux


@dataclass(frozen=True, kw_only=True)
class Process:
    """As it is kept in Redis, where another release may have written it: each field has a default,
    and means "not told" there."""

    kind: str = ""  # web or worker
    host: str = ""
    pid: int = 0
    at: float = 0.0  # when this was true, Unix seconds
    started_at: float = 0.0  # Unix seconds
    memory_bytes: int | None = None  # resident
    cpu_seconds: float = 0.0  # since the start
    connections: int | None = None  # of callers
    spool_batches: int = 0  # of the process's machine
    spool_oldest_at: float | None = None  # Unix seconds
    version: str = ""
    revision: str = ""
    python: str = ""

    @classmethod
    def read(cls, text: bytes) -> Self:
        """From what `orjson.dumps` made of one."""
        told = orjson.loads(text)
        return cls(**{field.name: told[field.name] for field in fields(cls) if field.name in told})

    @property
    def name(self) -> str:
        return f"{self.kind}:{self.host}:{self.pid}"


def this_process(
    kind: str, revision: str, *, connections: int | None = None, spool: Spool | None = None
) -> Process:
    spooled = _backlog(spool)
    return Process(
        kind=kind,
        host=HOST,
        pid=os.getpid(),
        at=time.time(),
        started_at=_STARTED_AT,
        memory_bytes=_memory(),
        cpu_seconds=time.process_time(),
        connections=connections,
        spool_batches=spooled.batches,
        spool_oldest_at=spooled.oldest_at,
        version=_version(),
        revision=revision,
        python=python_version(),
    )


def _backlog(spool: Spool | None) -> Backlog:
    nothing = Backlog(0, None)
    try:
        return spool.backlog() if spool else nothing
    except (sqlite3.Error, OSError):  # damaged, or not readable
        return nothing


def _memory() -> int | None:
    try:
        pages = int(_MEMORY.read_text().split()[1])
    except OSError:  # not Linux
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


@cache
def _version() -> str:
    """Of the project; it runs from its folder and need not be installed."""
    try:
        version: str = tomllib.loads(_PROJECT.read_text())["project"]["version"]
    except (OSError, KeyError):
        return ""
    return version
