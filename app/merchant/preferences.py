"""What a merchant can set for their reports."""

from zoneinfo import available_timezones

from psycopg import Connection

from app.counts.rollups import mark_dirty
from app.replies import Detail, Refusal

WINDOWS = (1, 24, 72, 168)  # hours


def change(connection: Connection, domain: str, *, time_zone: object, window_hours: object) -> None:
    """In the caller's transaction. The worker then counts the shop anew. Refusal."""
    details: list[Detail] = []
    if not isinstance(time_zone, str) or not _is_known(connection, time_zone):
        details.append({"path": "time_zone", "message": "must be a name such as Europe/Berlin"})
    if type(window_hours) is not int or window_hours not in WINDOWS:
        wanted = ", ".join(map(str, WINDOWS))
        details.append({"path": "window_hours", "message": f"must be one of {wanted}"})
    if details:
        first = details[0]
        message = f"{first['path']} {first['message']}."
        raise Refusal(400, "VALIDATION_FAILED", message, details=details)
    connection.execute("INSERT INTO shops (domain) VALUES (%s) ON CONFLICT DO NOTHING", [domain])
    row = connection.execute(
        "INSERT INTO report_shops (shop_id, time_zone, window_hours)"
        " SELECT id, %(time_zone)s, %(window_hours)s FROM shops WHERE domain = %(domain)s"
        " ON CONFLICT (shop_id) DO UPDATE SET time_zone = excluded.time_zone,"
        " window_hours = excluded.window_hours WHERE (report_shops.time_zone,"
        " report_shops.window_hours) <> (excluded.time_zone, excluded.window_hours)"
        " RETURNING shop_id",
        {"domain": domain, "time_zone": time_zone, "window_hours": window_hours},
    ).fetchone()
    if row:  # without one nothing has changed
        mark_dirty(connection, row[0])


def _is_known(connection: Connection, time_zone: str) -> bool:
    """Both to Python and to Postgres: a name that only one of them knows (`localtime`) would stop
    the counting of every shop."""
    if time_zone not in available_timezones():
        return False
    # Postgres takes CET and the like for an abbreviation, which has no summer time.
    query = (
        "SELECT FROM pg_timezone_names WHERE name = %s AND (name IN ('UTC', 'GMT')"
        " OR name NOT IN (SELECT abbrev FROM pg_timezone_abbrevs))"
    )
    return connection.execute(query, [time_zone]).fetchone() is not None
