"""The way back from a backup.

pg_restore does not connect: the SQL that it writes is run here, in one transaction. All comes back
or nothing does, a role that owns its schema and no more can do it, and the schema may have another
name than it had.
"""

import re
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

from psycopg import Connection, Cursor, sql
from psycopg.abc import Query

from app.store import migrate
from app.store.partitions import create_partitions
from app.store.postgres_tools import BackupError, Tool, quoted, run, stream

_CHUNK = 256 * 1024  # bytes to one piece of COPY data
_LOCK_TIMEOUT = "5s"
_LEFT_OUT = re.compile(r"\d+; \d+ \d+ (SCHEMA|ACL|DEFAULT ACL|EXTENSION|COMMENT) ")
_OURS = re.compile(r"^\d+; \d+ \d+ TABLE (.+) schema_migrations ", re.MULTILINE)
# Settings of the session that wrote the archive, some unknown to older servers; psql's commands.
_SKIPPED = (b"SET ", b"SELECT pg_catalog.set_config('search_path'", b"\\")
_COPY = re.compile(rb'COPY .*?([^".]+)"? \(.*\) FROM stdin;\n')
_FUNCTIONS = (
    "report_old_batches", "report_old_marks", "report_outdated", "doubt_contexts",
    "insert_batch", "update_batch", "delete_batch", "event_name", "kinds_since",
)  # fmt: skip

Progress = Callable[[str, int], None]


class Contents(NamedTuple):
    tables: int
    rows: int  # as Postgres estimates them


def contents(connection: Connection, schema: str) -> Contents:
    """What a restore with `replace` would drop."""
    [row] = connection.execute(
        "SELECT count(*) FILTER (WHERE relkind IN ('r', 'v', 'm', 'p', 'f')),"
        " coalesce(sum(reltuples) FILTER (WHERE relkind = 'r' AND reltuples > 0), 0)::bigint"
        " FROM pg_class WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = %s)"
        " AND relkind IN ('r', 'v', 'm', 'p', 'f', 'S') AND NOT EXISTS (SELECT FROM pg_depend"
        "  WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype = 'e')",
        [schema],
    )
    return Contents(*row)


def restore(
    connection: Connection,
    tool: Tool,
    source: Path,
    schema: str,
    *,
    replace: bool,
    progress: Progress,
) -> list[str]:
    """Bring back what `source` holds in `schema`, and apply the migrations that it lacks.

    One transaction: an error leaves everything as it was. Returns the applied migrations' names.
    BackupError: the file is damaged, not ours or of a newer release, or something is in the way.
    """
    with _table_of_contents(tool, source) as (origin, selected), connection.transaction():
        migrate.take_turn(connection)
        connection.execute("SELECT set_config('lock_timeout', %s, true)", [_LOCK_TIMEOUT])
        _make_schema(connection, schema)
        connection.execute(sql.SQL("SET LOCAL search_path TO {}").format(sql.Identifier(schema)))
        if replace:
            _drop_all(connection, schema)
        if contents(connection, schema).tables:
            raise BackupError(
                f"The schema {schema} is not empty: restore into a fresh one with --schema, or"
                " replace what is there with --replace."
            )
        _drop_functions(connection, schema)
        command = [
            str(tool.path), "--file=-", "--no-owner", "--no-privileges", "--no-comments",
            f"--use-list={selected}", str(source),
        ]  # fmt: skip
        with (
            tempfile.TemporaryFile() as errors,
            run(command, stdout=subprocess.PIPE, stderr=errors) as process,
        ):
            script = _renamed(stream(process.stdout), origin, schema)
            with connection.cursor() as cursor:
                _run_script(cursor, script, progress)
            if process.wait():
                errors.seek(0)
                raise BackupError(f"{source} cannot be read: {_last_line(errors.read())}")
        if newer := migrate.newer(connection):
            raise BackupError(
                f"{source} is of a newer release, it has {', '.join(newer)}: restore it with that"
                " release."
            )
        applied = migrate.upgrade(connection)
        create_partitions(connection, datetime.now(UTC).date(), is_alone=True)
        return applied


def _last_line(text: bytes) -> str:
    lines = text.decode(errors="replace").strip().splitlines() or ["it says nothing"]
    return lines[-1].removeprefix("pg_restore: ").removeprefix("error: ")


@contextmanager
def _table_of_contents(tool: Tool, source: Path) -> Iterator[tuple[str, Path]]:
    """The schema that was saved, and a file that lists what to restore of it."""
    if not source.is_file():
        raise BackupError(f"There is no file {source}.")
    listed = subprocess.run(  # noqa: S603 - a path of the operator's
        [tool.path, "--list", source], capture_output=True, check=False
    )
    if listed.returncode:
        raise BackupError(f"{source} cannot be read: {_last_line(listed.stderr)}")
    text = listed.stdout.decode()
    match = _OURS.search(text)
    if match is None:
        raise BackupError(f"{source} is no backup of this system: it has no schema_migrations.")
    kept = [line for line in text.splitlines() if not _LEFT_OUT.match(line)]
    with tempfile.TemporaryDirectory() as folder:
        selected = Path(folder, "list")
        selected.write_text("\n".join(kept))
        yield match[1], selected


def _make_schema(connection: Connection, schema: str) -> None:
    # Not IF NOT EXISTS: Postgres asks for the right to make it also where it is there.
    known = connection.execute("SELECT FROM pg_namespace WHERE nspname = %s", [schema])
    if not known.rowcount:
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))


def _drop_all(connection: Connection, schema: str) -> None:
    """Its views, tables and sequences, and nothing elsewhere: what hangs on them stops it."""
    for kind, relkinds in (
        ("VIEW", "v"), ("MATERIALIZED VIEW", "m"), ("TABLE", "rp"), ("SEQUENCE", "S"),
    ):  # fmt: skip
        rows = connection.execute(
            "SELECT relname FROM pg_class WHERE relkind = ANY(%s) AND NOT relispartition"
            " AND relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = %s)"
            " AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass"
            "  AND objid = pg_class.oid AND deptype = 'e')",
            [list(relkinds), schema],
        ).fetchall()
        if rows:
            names = sql.SQL(", ").join(sql.Identifier(schema, name) for (name,) in rows)
            connection.execute(sql.SQL("DROP {} {}").format(sql.SQL(kind), names))


def _drop_functions(connection: Connection, schema: str) -> None:
    """Ours, which stay behind when the tables go."""
    for (name,) in connection.execute(
        "SELECT proname FROM pg_proc WHERE proname = ANY(%s)"
        " AND pronamespace = (SELECT oid FROM pg_namespace WHERE nspname = %s)",
        [list(_FUNCTIONS), schema],
    ).fetchall():
        connection.execute(sql.SQL("DROP FUNCTION {}").format(sql.Identifier(schema, name)))


def _renamed(lines: Iterable[bytes], origin: str, schema: str) -> Iterator[bytes]:
    """The lines with another schema's name before each of its tables, the rows as they are."""
    if origin == schema:
        yield from lines
        return
    name = f"(?:{re.escape(origin)}|{re.escape(quoted(origin))})"
    qualifier = re.compile(rf'(?<![\w."]){name}\.'.encode())
    replacement = f"{quoted(schema)}.".encode()
    is_row = False
    for line in lines:
        if is_row:
            is_row = line != b"\\.\n"
            yield line
        else:
            renamed = qualifier.sub(lambda _: replacement, line)
            is_row = _COPY.fullmatch(renamed) is not None
            yield renamed


def _run_script(cursor: Cursor, lines: Iterator[bytes], progress: Progress) -> None:
    statements: list[bytes] = []
    for line in lines:
        if match := _COPY.fullmatch(line):
            _run_statements(cursor, statements)
            _copy(cursor, line, lines, partial(progress, match[1].decode()))
        elif not line.startswith(_SKIPPED):
            statements.append(line)
    _run_statements(cursor, statements)


def _run_statements(cursor: Cursor, statements: list[bytes]) -> None:
    if statements:
        cursor.execute(_as_query(b"".join(statements)))
        statements.clear()


def _copy(
    cursor: Cursor, command: bytes, lines: Iterator[bytes], progress: Callable[[int], None]
) -> None:
    with cursor.copy(_as_query(command)) as copy:
        rows: list[bytes] = []
        size = 0
        for line in lines:
            if line == b"\\.\n":
                break
            rows.append(line)
            size += len(line)
            if size >= _CHUNK:
                copy.write(b"".join(rows))
                progress(len(rows))
                rows, size = [], 0
        copy.write(b"".join(rows))
        progress(len(rows))


def _as_query(statements: bytes) -> Query:
    return statements
