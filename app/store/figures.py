"""How much of Postgres is in use."""

from collections.abc import Mapping
from typing import LiteralString

from psycopg import Connection, sql

from app.store.distribute import is_distributed

_EVENTS = """
    SELECT coalesce(sum(greatest(part.reltuples, 0)), 0)::bigint FROM pg_inherits
    JOIN pg_class AS part ON part.oid = inhrelid
    JOIN pg_class AS events ON events.oid = inhparent
    WHERE events.relname ~ '^events(_[0-9]+)?$' AND pg_table_is_visible(events.oid)"""
_SIZE = "SELECT pg_database_size(current_database())"
# The same of every node, where the tables are spread.
_ON_EACH = "SELECT sum(CASE WHEN success THEN result::bigint END) FROM run_command_on_all_nodes({})"


def database_size(connection: Connection) -> int:
    """Bytes, of all schemas and of all nodes."""
    return _of_nodes(connection, _SIZE)


def stored_events(connection: Connection) -> int:
    """How many, as Postgres estimates them; 0 where it does not know yet."""
    return _of_nodes(connection, _EVENTS)


def _of_nodes(connection: Connection, statement: LiteralString) -> int:
    if is_distributed(connection):
        [(number,)] = connection.execute(sql.SQL(_ON_EACH).format(sql.Literal(statement)))
    else:
        [(number,)] = connection.execute(statement)
    return int(number or 0)


def connections(connection: Connection) -> Mapping[str, int]:
    """This role's, by the name they were opened under, and "other"."""
    return dict(
        connection.execute(
            "SELECT CASE WHEN application_name ~ '^genlook [a-z]+$'"
            " THEN split_part(application_name, ' ', 2) ELSE 'other' END AS name, count(*)"
            " FROM pg_stat_activity"
            " WHERE usename = current_user AND backend_type = 'client backend' GROUP BY name"
        ).fetchall()
    )


def connections_allowed(connection: Connection) -> int:
    """To this role and to this database."""
    [(number,)] = connection.execute(
        "SELECT least(current_setting('max_connections')::int"
        " - current_setting('superuser_reserved_connections')::int,"
        " nullif((SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user), -1),"
        " nullif((SELECT datconnlimit FROM pg_database"
        "  WHERE datname = current_database()), -1))"
    )
    return int(number)


def privacy_requests(connection: Connection) -> Mapping[str, int]:
    """Those that are not closed, by state."""
    return dict(
        connection.execute(
            "SELECT state, count(*) FROM privacy_requests WHERE due_at IS NOT NULL GROUP BY state"
        ).fetchall()
    )


def seconds_behind_primary(connection: Connection) -> float:
    """By how much a replica lags; 0 on the primary, and where all that came is replayed. Where
    nothing comes any more, what the primary did since is not known: the age of the last change."""
    [(seconds,)] = connection.execute(
        "SELECT CASE WHEN NOT pg_is_in_recovery() THEN 0"
        " WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn()"
        " AND EXISTS (SELECT FROM pg_stat_wal_receiver) THEN 0"
        " ELSE extract(epoch FROM clock_timestamp()"
        " - coalesce(pg_last_xact_replay_timestamp(), pg_postmaster_start_time())) END"
    )
    return max(0.0, float(seconds))
