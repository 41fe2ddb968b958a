"""A backup of our schema in a file, by pg_dump."""

import os
import re
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

from psycopg import Connection

from app.store.postgres_tools import BackupError, Tool, environment, quoted, run, stream


def schema_of(connection: Connection) -> str | None:
    """The schema that holds our tables, where they are made already."""
    row = connection.execute(
        "SELECT nspname FROM pg_class"
        " JOIN pg_namespace ON pg_namespace.oid = relnamespace"
        " WHERE pg_class.oid = to_regclass('schema_migrations')"
    ).fetchone()
    return row[0] if row else None


def backup(
    database_url: str, tool: Tool, schema: str, target: Path, tell: Callable[[str], None]
) -> int:
    """Write what `schema` holds to `target`, whole or not at all; returns its bytes.

    `tell` gets a line for each table. BackupError: pg_dump refuses, or the file cannot be written.
    """
    unfinished = target.with_name(f"{target.name}.unfinished-{os.getpid()}")
    command = [
        str(tool.path), "--format=custom", "--encoding=UTF8", "--no-owner", "--no-privileges",
        "--verbose", f"--schema={quoted(schema)}", f"--file={unfinished}",
    ]  # fmt: skip
    try:
        with open(unfinished, "wb", opener=_private) as file:
            with run(command, stdout=subprocess.DEVNULL, env=environment(database_url)) as process:
                last = _tell_tables(stream(process.stderr), tell)
            if process.returncode:
                raise BackupError(f"pg_dump stopped: {last}")
            os.fsync(file.fileno())
        unfinished.replace(target)
    except OSError as error:
        raise BackupError(f"{target} cannot be written: {error.strerror}.") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return target.stat().st_size


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _tell_tables(lines: Iterable[bytes], tell: Callable[[str], None]) -> str:
    """Returns the last line, which is the error where there was one."""
    last = ""
    for line in lines:
        text = line.decode(errors="replace").strip()
        if match := re.search(r'dumping contents of table "(.+)"', text):
            tell(match[1])
        if "error:" in text or not last:
            last = text.partition("error: ")[2] or text
    return last
