"""Whether a shop has installed the app again."""

from psycopg import Connection

from app.privacy.requests import COMMAND, Request
from app.privacy.senders import sender
from app.privacy.waiting import Journals
from app.store import shops


def is_back(connection: Connection, journals: Journals, request: Request) -> bool:
    """By what is stored and by what still waits. redis.RedisError."""
    shop = request.shop_domain
    if request.source == COMMAND:  # the operator knows
        return False
    since = shops.uninstalled_at(connection, shop)
    if since is None:
        was_gone = connection.execute(
            "SELECT 1 FROM shops WHERE domain = %s AND uninstalled_at IS NOT NULL", [shop]
        ).fetchone()
        return was_gone is not None
    if shops.mark_returned(connection, shop):
        return True
    received = [sender(batch).received_at for batch in journals.batches(shop)]
    last = max(filter(None, received), default=None)
    if last is None or last <= since:
        return False
    shops.mark_installed(connection, shop, last)
    return True
