"""PostgreSQL's client programs: found, and run without a password on a command line."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from psycopg import pq

_DEBIAN = Path("/usr/lib/postgresql")


class BackupError(Exception):
    """One line for the operator: what is wrong, and what to do."""


@dataclass(frozen=True)
class Tool:
    path: Path
    major: int


def find_tool(name: str, *, folder: Path | None, least: int = 0) -> Tool:
    """The tool in `folder`, or else of the path and of Debian's folders, the newest.

    BackupError: there is none, or none of the major version `least` or later.
    """
    found = [tool for path in _candidates(name, folder) if (tool := _ask_version(path))]
    if not found:
        where = f"in {folder}" if folder else "on the path"
        raise BackupError(
            f"{name} is not {where}: install PostgreSQL's client programs"
            " (Debian: postgresql-client), or name their folder with --bin."
        )
    newest = max(found, key=lambda tool: tool.major)
    if newest.major < least:
        raise BackupError(
            f"{newest.path} is version {newest.major}, older than the server's {least}: install"
            f" postgresql-client-{least}, or name its folder with --bin."
        )
    return newest


def environment(database_url: str) -> dict[str, str]:
    """As libpq reads it: everyone on the machine can read a command line, and no environment."""
    options = pq.Conninfo.parse(database_url.encode())
    return os.environ | {
        option.envvar.decode(): option.val.decode()
        for option in options
        if option.envvar and option.val
    }


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@contextmanager
def run(
    command: list[str],
    *,
    stdout: int | IO[bytes],
    stderr: int | IO[bytes] = subprocess.PIPE,
    env: dict[str, str] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(  # noqa: S603 - a path of the operator's
        command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, env=env
    ) as process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


def stream(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise ValueError("the process has no such pipe")
    return pipe


def _candidates(name: str, folder: Path | None) -> Iterator[Path]:
    if folder:
        yield folder / name
        return
    if found := shutil.which(name):
        yield Path(found)
    yield from _DEBIAN.glob(f"*/bin/{name}")


def _ask_version(path: Path) -> Tool | None:
    try:
        answer = subprocess.run(  # noqa: S603 - a path of the operator's
            [path, "--version"], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    match = re.search(r"\) (\d+)", answer)
    return Tool(path, int(match[1])) if match else None
