"""What a merchant can set for their reports."""

from functools import cache
from importlib.resources import files
from zoneinfo import available_timezones

from psycopg import Connection

from app.counts.rollups import mark_dirty
from app.merchant.language import ENGLISH, Language
from app.replies import Detail, Refusal

WINDOWS = (1, 24, 72, 168)  # hours
_MOST_SHOWN = 60  # characters of what was sent


def change(
    connection: Connection,
    domain: str,
    *,
    time_zone: object,
    window_hours: object,
    language: Language = ENGLISH,
) -> None:
    """In the caller's transaction. The worker then counts the shop anew. Refusal."""
    details: list[Detail] = []
    zone = known_zone(connection, time_zone) if isinstance(time_zone, str) else None
    if zone is None:
        details.append({"path": "time_zone", "message": "must be a name such as Europe/Berlin"})
    if type(window_hours) is not int or window_hours not in WINDOWS:
        wanted = ", ".join(map(str, WINDOWS))
        details.append({"path": "window_hours", "message": f"must be one of {wanted}"})
    if details:
        message = f"{details[0]['path']} {details[0]['message']}."
        if zone is None and isinstance(time_zone, str):
            message = language.gettext(
                "There is no time zone “%(name)s”. Choose one such as Europe/Berlin.",
                name=time_zone[:_MOST_SHOWN],
            )
        raise Refusal(400, "VALIDATION_FAILED", message, details=details)
    connection.execute("INSERT INTO shops (domain) VALUES (%s) ON CONFLICT DO NOTHING", [domain])
    row = connection.execute(
        "INSERT INTO report_shops (shop_id, time_zone, window_hours)"
        " SELECT id, %(time_zone)s, %(window_hours)s FROM shops WHERE domain = %(domain)s"
        " ON CONFLICT (shop_id) DO UPDATE SET time_zone = excluded.time_zone,"
        " window_hours = excluded.window_hours WHERE (report_shops.time_zone,"
        " report_shops.window_hours) <> (excluded.time_zone, excluded.window_hours)"
        " RETURNING shop_id",
        {"domain": domain, "time_zone": zone, "window_hours": window_hours},
    ).fetchone()
    if row:  # without one nothing has changed
        mark_dirty(connection, row[0])


def are_chosen(connection: Connection, shop_id: int) -> bool:
    """Whether the shop has ever saved its settings."""
    row = connection.execute("SELECT 1 FROM report_shops WHERE shop_id = %s", [shop_id]).fetchone()
    return row is not None


def known_zone(connection: Connection, name: str) -> str | None:
    """The name, or the zone's other one, under which both Python and Postgres know it; None where
    there is none: what only one of them knows (`localtime`) would stop the counting of every shop.

    Browsers say Asia/Calcutta, which newer systems have under its newer name alone.
    """
    if name not in available_timezones():
        return None
    names = [name, *_other_names(name)]
    # Postgres takes CET and the like for an abbreviation, which has no summer time.
    query = (
        "SELECT name FROM pg_timezone_names WHERE name = ANY(%(names)s) AND (name IN ('UTC', 'GMT')"
        " OR name NOT IN (SELECT abbrev FROM pg_timezone_abbrevs))"
        " ORDER BY array_position(%(names)s, name) LIMIT 1"
    )
    row = connection.execute(query, {"names": names}).fetchone()
    return str(row[0]) if row else None


def _other_names(name: str) -> list[str]:
    """Those that mean the same; the one in use comes first."""
    if "/" not in name:
        return []
    links = _links()
    current = links.get(name, name)
    others = sorted(other for other, target in links.items() if target == current)
    return [other for other in (current, *others) if "/" in other]


@cache
def _links() -> dict[str, str]:
    """From a zone's other names to the one in use."""
    text = files("tzdata").joinpath("zoneinfo/tzdata.zi").read_text()
    links = (line.split() for line in text.splitlines() if line.startswith("L "))
    return {name: target for _, target, name in links}
