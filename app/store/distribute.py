"""Spreads the tables over the nodes of a Citus, by shop (README.md beside this file).

What is of a shop lies together on one node, so that a transaction of the writer, a count and an
erasure stay atomic there. The shops themselves are on every node; queues and what was rejected stay
on the coordinator.
"""

from collections.abc import Callable

from psycopg import Connection, sql

from app.store import migrate

SHOPS = "shops"
# Of the form of the counts before this one: nothing reads them, the coordinator keeps them.
_OLD = ("report_dirty", "report_cells", "report_journeys")
_FIRST = "events"  # to be placed

Progress = Callable[[str], None]


class NotPossible(Exception):
    """A sentence that says what is missing and what to do."""


def is_distributed(connection: Connection) -> bool:
    """Whether the tables are spread over the nodes of a Citus."""
    [(is_citus,)] = connection.execute(
        "SELECT to_regclass('pg_catalog.pg_dist_partition') IS NOT NULL"
    )
    return is_citus and SHOPS in _placed(connection)


def distribute(connection: Connection, progress: Progress) -> list[str]:
    """Spread what is not spread yet, all or none; returns the tables' names. `progress` is told of
    each when its rows are copied. NotPossible; psycopg.Error: nothing is changed."""
    _check(connection)
    with connection.transaction():
        migrate.take_turn(connection)
        migrate.change_one_by_one(connection)
        missing = _missing(connection)
        if not missing:
            return []
        for table in missing:
            _drop_triggers(connection, table)
            _number_anew(connection, table)
            if table == SHOPS:
                connection.execute("SELECT create_reference_table(%s)", [table])
            else:
                _complete_key(connection, table)
                _place(connection, table)
            progress(table)
    _free_disk(connection)
    return missing


def _check(connection: Connection) -> None:
    [(citus,)] = connection.execute("SELECT to_regproc('pg_catalog.citus_version')")
    if not citus:
        raise NotPossible(
            "This Postgres has no Citus, nothing is changed: connect to a coordinator on which"
            " CREATE EXTENSION citus was run, or stay with one Postgres."
        )
    [(workers,)] = connection.execute("SELECT count(*) FROM citus_get_active_worker_nodes()")
    if not workers:
        raise NotPossible(
            "The coordinator has no workers, nothing is changed: add each of them with"
            " SELECT citus_add_node('HOST', 5432)."
        )
    if not all(migration.applied_at for migration in migrate.status(connection)):
        raise NotPossible("Migrations are missing, nothing is changed: run `flask db upgrade`.")


def _placed(connection: Connection) -> set[str]:
    rows = connection.execute(
        "SELECT relname FROM pg_dist_partition JOIN pg_class ON pg_class.oid = logicalrelid"
        " WHERE pg_table_is_visible(logicalrelid) AND partmethod IN ('h', 'n')"
    )
    return {name for (name,) in rows}


def _missing(connection: Connection) -> list[str]:
    """Every table with rows by shop, also one that a later release has added."""
    rows = connection.execute(
        "SELECT relname FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid"
        " WHERE attname = 'shop_id' AND relkind IN ('r', 'p') AND NOT relispartition"
        " AND relpersistence = 'p' AND pg_table_is_visible(pg_class.oid) AND relname <> ALL(%s)"
        " ORDER BY relname <> %s, relname",
        [list(_OLD), _FIRST],
    ).fetchall()
    placed = _placed(connection)
    return [name for name in (SHOPS, *(name for (name,) in rows)) if name not in placed]


def _drop_triggers(connection: Connection, table: str) -> None:
    """They would run on the nodes. The code does by itself what they do for releases before."""
    for (name,) in connection.execute(
        "SELECT tgname FROM pg_trigger WHERE tgrelid = to_regclass(%s) AND NOT tgisinternal",
        [table],
    ).fetchall():
        connection.execute(
            sql.SQL("DROP TRIGGER {} ON {}").format(sql.Identifier(name), sql.Identifier(table))
        )


def _number_anew(connection: Connection, table: str) -> None:
    """Identities of integers as defaults: Citus has the others only."""
    for column, last, first in connection.execute(
        "SELECT attname, pg_sequence_last_value(pg_get_serial_sequence(%(table)s, attname)),"
        " seqstart FROM pg_attribute"
        " JOIN pg_sequence ON seqrelid = pg_get_serial_sequence(%(table)s, attname)::regclass"
        " WHERE attrelid = to_regclass(%(table)s) AND attidentity <> ''"
        " AND atttypid = 'integer'::regtype",
        {"table": table},
    ).fetchall():
        names = {
            "table": sql.Identifier(table),
            "column": sql.Identifier(column),
            "numbers": sql.Identifier(f"{table}_{column}_numbers"),
            "first": sql.Literal(first if last is None else last + 1),
        }
        for statement in (
            "ALTER TABLE {table} ALTER COLUMN {column} DROP IDENTITY",
            "CREATE SEQUENCE {numbers} AS integer MINVALUE {first} OWNED BY {table}.{column}",
            "ALTER TABLE {table} ALTER COLUMN {column} SET DEFAULT nextval({name})",
        ):
            name = sql.Literal(f"{table}_{column}_numbers")
            connection.execute(sql.SQL(statement).format(**names, name=name))


def _complete_key(connection: Connection, table: str) -> None:
    """The key of a distributed table has the column that it is distributed by."""
    row = connection.execute(
        "SELECT conname, array_agg(attname::text ORDER BY place) FROM pg_constraint,"
        " unnest(conkey) WITH ORDINALITY AS key (number, place), pg_attribute"
        " WHERE conrelid = to_regclass(%s) AND contype = 'p'"
        " AND attrelid = conrelid AND attnum = number GROUP BY conname",
        [table],
    ).fetchone()
    if row and "shop_id" not in row[1]:
        connection.execute(
            sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}, ADD PRIMARY KEY ({})").format(
                sql.Identifier(table),
                sql.Identifier(row[0]),
                sql.SQL(", ").join(map(sql.Identifier, ("shop_id", *row[1]))),
            )
        )


def _place(connection: Connection, table: str) -> None:
    """The first one's shards tell where the others' are."""
    connection.execute(
        "SELECT create_distributed_table(%s, 'shop_id', colocate_with => %s)",
        [table, "none" if table == _FIRST else _FIRST],
    )


def _free_disk(connection: Connection) -> None:
    """Of the rows that the coordinator still has itself, unseen."""
    for table in sorted(_placed(connection)):
        connection.execute("SELECT truncate_local_data_after_distributing_table(%s)", [table])
