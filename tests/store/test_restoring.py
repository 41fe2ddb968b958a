"""What a restore makes of the script that pg_restore writes."""

import psycopg
import pytest

from app.store import restore


def lines(text):
    return iter(text.encode().splitlines(keepends=True))


SCRIPT = """\
SET lock_timeout = 0;
SELECT pg_catalog.set_config('search_path', '', false);
\\restrict abc
CREATE TABLE pg_temp.first (a text);
CREATE TABLE pg_temp.second (a text,
    b text);
COPY pg_temp.first (a) FROM stdin;
one
two
SET three
\\.

COPY pg_temp.second (a, b) FROM stdin;
\\.
ALTER TABLE pg_temp.first ADD b integer DEFAULT 7;
"""


@pytest.mark.parametrize("chunk", [1, 4, 10_000])
def test_each_table_is_filled_with_its_rows_and_told(database, monkeypatch, chunk):
    monkeypatch.setattr(restore, "_CHUNK", chunk)
    told = []
    with database.cursor() as cursor:
        restore._run_script(cursor, lines(SCRIPT), lambda *step: told.append(step))
        rows = cursor.execute("SELECT a, b FROM pg_temp.first ORDER BY a").fetchall()
        assert rows == [("SET three", 7), ("one", 7), ("two", 7)]
        assert cursor.execute("SELECT count(*) FROM pg_temp.second").fetchone() == (0,)
    assert sum(rows for table, rows in told if table == "first") == 3
    assert [rows for table, rows in told if table == "second"] == [0]
    assert len(told) == {1: 5, 4: 5, 10_000: 2}[chunk]
    database.execute("DROP TABLE pg_temp.first, pg_temp.second")


def test_a_row_that_does_not_fit_stops_it(database):
    script = "CREATE TABLE pg_temp.t (a int);\nCOPY pg_temp.t (a) FROM stdin;\nx\n\\.\n"
    with database.cursor() as cursor, pytest.raises(psycopg.errors.InvalidTextRepresentation):
        restore._run_script(cursor, lines(script), lambda *_: None)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("COPY old.t (a) FROM stdin;\n", 'COPY "new".t (a) FROM stdin;\n'),
        ('ALTER TABLE "old".t ADD b int;\n', 'ALTER TABLE "new".t ADD b int;\n'),
        ("SELECT gold.x, told.old.y, old.z;\n", 'SELECT gold.x, told.old.y, "new".z;\n'),
        ("CREATE VIEW old.a AS SELECT * FROM old.b;\n",
         'CREATE VIEW "new".a AS SELECT * FROM "new".b;\n'),
    ],
)  # fmt: skip
def test_the_schema_is_named_anew_before_each_table(before, after):
    assert list(restore._renamed(lines(before), "old", "new")) == [after.encode()]
    assert list(restore._renamed(lines(before), "old", "old")) == [before.encode()]


def test_rows_are_never_changed():
    text = "COPY old.t (a) FROM stdin;\nold.x\n\\.\nCREATE TABLE old.u ();\n"
    assert b"".join(restore._renamed(lines(text), "old", "new")) == (
        b'COPY "new".t (a) FROM stdin;\nold.x\n\\.\nCREATE TABLE "new".u ();\n'
    )


def test_the_last_line_tells_why():
    assert restore._last_line(b"a\npg_restore: error: b\n\n") == "b"
    assert restore._last_line(b"") == "it says nothing"


@pytest.mark.one_postgres  # Citus has views of its own there
def test_what_a_schema_holds_is_counted(database):
    assert restore.contents(database, "nowhere") == (0, 0)
    found = restore.contents(database, "public")
    names = database.execute(
        "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        " AND relkind IN ('r', 'p', 'v')"
    ).fetchone()
    assert found.tables == names[0] > 20
    database.execute("CREATE SCHEMA of_one; CREATE TABLE of_one.t AS SELECT generate_series(1, 9)")
    try:
        database.execute("ANALYZE of_one.t")
        assert restore.contents(database, "of_one") == (1, 9)
        # Its views are the extension's, which nobody asked to drop.
        database.execute("CREATE EXTENSION pg_stat_statements SCHEMA of_one")
        restore._drop_all(database, "of_one")
        assert restore.contents(database, "of_one") == (0, 0)
        [(kept,)] = database.execute("SELECT to_regclass('of_one.pg_stat_statements') IS NOT NULL")
        assert kept
    finally:
        database.execute("DROP SCHEMA of_one CASCADE")
