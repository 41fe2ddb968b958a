"""Which shops have the app. There is no installing step: a shop is known from its first signed
request, and has the app again from the first that follows its uninstalling."""

from datetime import datetime

from psycopg import Connection

from app.store.distribute import is_distributed

_NEWEST = """
    SELECT id, (
        SELECT max(received_at) FROM (
            SELECT received_at FROM stored_batches WHERE shop_id = shop.id
            ORDER BY id DESC LIMIT 100
        ) AS last_batches
    ) FROM unnest(%s::integer[]) AS shop (id)"""
_NEWEST_OF_ONE = """
    SELECT %(id)s, max(received_at) FROM (
        SELECT received_at FROM stored_batches WHERE shop_id = %(id)s ORDER BY id DESC LIMIT 100
    ) AS last_batches"""


def find_id(connection: Connection, shop: str) -> int | None:
    """None where nothing is known of the shop."""
    row = connection.execute("SELECT id FROM shops WHERE domain = %s", [shop]).fetchone()
    return row[0] if row else None


def mark_uninstalled(connection: Connection, shop: str, at: datetime) -> None:
    connection.execute(
        "INSERT INTO shops (domain, uninstalled_at) VALUES (%s, %s)"
        " ON CONFLICT (domain) DO UPDATE SET uninstalled_at ="
        " greatest(shops.uninstalled_at, excluded.uninstalled_at)",
        [shop, at],
    )


def has_app(connection: Connection, shop: str) -> bool:
    """Whether the shop is known, and has the app as far as that was said."""
    row = connection.execute(
        "SELECT 1 FROM shops WHERE domain = %s"
        " AND (uninstalled_at IS NULL OR installed_at > uninstalled_at)",
        [shop],
    ).fetchone()
    return row is not None


def mark_installed(connection: Connection, shop: str, at: datetime) -> bool:
    """The merchant has opened the app, or it was installed again. Whether that is news."""
    return (
        connection.execute(
            "INSERT INTO shops (domain, installed_at) VALUES (%(shop)s, %(at)s)"
            " ON CONFLICT (domain) DO UPDATE SET installed_at = excluded.installed_at"
            " WHERE coalesce(shops.installed_at, '-infinity') <= shops.uninstalled_at"
            " AND shops.uninstalled_at < %(at)s",
            {"shop": shop, "at": at},
        ).rowcount
        > 0
    )


def mark_returned(connection: Connection, shop: str | None = None) -> list[str]:
    """Mark those installed that have sent something since they uninstalled; returns their domains.

    Looked up among the newest rows alone, so that no request has to ask.
    """
    gone: dict[int, tuple[str, datetime]] = {
        id_: (domain, since)
        for id_, domain, since in connection.execute(
            "SELECT id, domain, uninstalled_at FROM shops WHERE uninstalled_at IS NOT NULL"
            " AND coalesce(installed_at, '-infinity') <= uninstalled_at"
            " AND (%(shop)s::text IS NULL OR domain = %(shop)s)",
            {"shop": shop},
        )
    }
    return [
        gone[id_][0]
        for id_, newest in _newest(connection, list(gone))
        if newest > gone[id_][1] and mark_installed(connection, gone[id_][0], newest)
    ]


def _newest(connection: Connection, shop_ids: list[int]) -> list[tuple[int, datetime]]:
    """When the last of each shop's requests came, of those that are stored."""
    if not shop_ids:
        return []
    found: list[tuple[int, datetime | None]] = []
    if is_distributed(connection):  # each shop's rows are on one of several nodes
        for id_ in shop_ids:
            found += connection.execute(_NEWEST_OF_ONE, {"id": id_})
    else:
        found += connection.execute(_NEWEST, [shop_ids])
    found += connection.execute(
        "SELECT shops.id, max(received_at) FROM rejected_events"
        " JOIN shops ON shop_domain = domain WHERE shops.id = ANY(%s)"
        # The time of these is when they were found.
        " AND code NOT IN ('UNREADABLE_ENTRY', 'UNSTORABLE') GROUP BY shops.id",
        [shop_ids],
    )
    newest: dict[int, datetime] = {}
    for id_, at in found:
        if at:
            newest[id_] = max(newest.get(id_, at), at)
    return sorted(newest.items())


def is_back(connection: Connection, shop: str, received_at: datetime | None) -> bool:
    """Whether a shop that had uninstalled the app has it again. `received_at` is when the last of
    its requests came whose batch waits in a journal."""
    since = uninstalled_at(connection, shop)
    if since is None:
        was_gone = connection.execute(
            "SELECT 1 FROM shops WHERE domain = %s AND uninstalled_at IS NOT NULL", [shop]
        ).fetchone()
        return was_gone is not None
    if mark_returned(connection, shop):
        return True
    if received_at is None or received_at <= since:
        return False
    mark_installed(connection, shop, received_at)
    return True


def uninstalled_at(connection: Connection, shop: str) -> datetime | None:
    """Since when the shop is without the app; None where it has it, or where nobody said."""
    row = connection.execute(
        "SELECT uninstalled_at FROM shops WHERE domain = %s"
        " AND coalesce(installed_at, '-infinity') <= uninstalled_at",
        [shop],
    ).fetchone()
    return row[0] if row else None
