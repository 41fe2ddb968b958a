"""How much of Postgres is in use."""

from collections.abc import Mapping

from psycopg import Connection


def database_size(connection: Connection) -> int:
    """Bytes, of all schemas."""
    row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
    return int(row[0]) if row else 0


def stored_events(connection: Connection) -> int:
    """How many, as Postgres estimates them; 0 where it does not know yet."""
    row = connection.execute(
        "SELECT coalesce(sum(greatest(reltuples, 0)), 0) FROM pg_inherits"
        " JOIN pg_class ON pg_class.oid = inhrelid WHERE inhparent = 'events'::regclass"
    ).fetchone()
    return int(row[0]) if row else 0


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
    row = connection.execute(
        "SELECT least(current_setting('max_connections')::int"
        " - current_setting('superuser_reserved_connections')::int,"
        " nullif((SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user), -1),"
        " nullif((SELECT datconnlimit FROM pg_database"
        "  WHERE datname = current_database()), -1))"
    ).fetchone()
    return int(row[0]) if row else 0


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
    row = connection.execute(
        "SELECT CASE WHEN NOT pg_is_in_recovery() THEN 0"
        " WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn()"
        " AND EXISTS (SELECT FROM pg_stat_wal_receiver) THEN 0"
        " ELSE extract(epoch FROM clock_timestamp()"
        " - coalesce(pg_last_xact_replay_timestamp(), pg_postmaster_start_time())) END"
    ).fetchone()
    return max(0.0, float(row[0])) if row else 0.0
