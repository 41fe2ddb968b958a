"""Raw user agents go earlier than the rest: out of the rows that hold one themselves, and from the
batches that share one, which then share a context without it."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from psycopg import Connection
from psycopg.rows import dict_row

from app.store import contexts, walks
from app.store.contexts import Part, part_of
from app.store.walks import Progress

_USER_AGENT = "$raw_user_agent"
_DAYS_ONE_BY_ONE = 400

_SHARING = """
    SELECT stored.ctid::text, stored.shop_id, stored.browser_part FROM stored_batches AS stored
    JOIN contexts ON contexts.shop_id = stored.shop_id AND contexts.id = stored.browser_part
    WHERE received_at >= %(since)s::timestamptz AND received_at < %(until)s
    AND contexts.context ? '$raw_user_agent' LIMIT %(most)s"""
_READ = """
    SELECT contexts.*, to_char(month, 'YYYY-MM') AS month FROM contexts
    JOIN unnest(%s::integer[], %s::integer[]) AS wanted (shop_id, id) USING (shop_id, id)"""
_REPLACE = """
    UPDATE stored_batches AS stored SET browser_part = changed.part
    FROM unnest(%s::tid[], %s::integer[], %s::integer[], %s::integer[])
        AS changed (place, shop_id, old, part)
    WHERE stored.ctid = changed.place AND stored.shop_id = changed.shop_id
    AND stored.browser_part = changed.old"""
# Where another context has the id that the new one would have.
_UNSHARE = "UPDATE batches SET context = context - '$raw_user_agent' WHERE ctid = ANY(%s::tid[])"

_Place = tuple[int, int]  # of a part: its shop and id


def remove_user_agents(connection: Connection, days: int, progress: Progress) -> int:
    """Take the raw text out of the context of what was received longer ago than that.

    Day by day: one pass over the table, in steps that the index on the time keeps short.
    """
    removed = 0
    now = datetime.now(UTC)
    if not connection.execute(
        "SELECT 1 FROM stored_batches WHERE received_at < %s LIMIT 1", [now - timedelta(days=days)]
    ).fetchone():
        return 0
    told = partial(progress, "user agents")
    for age in range(days, days + _DAYS_ONE_BY_ONE + 1):
        is_last = age == days + _DAYS_ONE_BY_ONE
        since = "-infinity" if is_last else (now - timedelta(days=age + 1)).isoformat()
        window = {"since": since, "until": now - timedelta(days=age)}
        removed += walks.update_in_steps(
            connection,
            "stored_batches",
            "context = context - '$raw_user_agent'",
            "received_at >= %(since)s::timestamptz AND received_at < %(until)s"
            " AND context ? '$raw_user_agent'",
            window,
            told,
        )
        while rows := _share_another(connection, window):
            removed += rows
            told(rows)
    return removed


def _share_another(connection: Connection, window: Mapping[str, Any]) -> int:
    """One step; returns how many batches were changed."""
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock_shared(%s)", [contexts.LOCK])
        sharing = connection.execute(_SHARING, {**window, "most": walks.STEP_ROWS}).fetchall()
        parts = _without_user_agents(connection, {(shop, id_) for _, shop, id_ in sharing})
        others = contexts.insert(connection, ((place[0], part) for place, part in parts.items()))
        changed, lonely = [], []
        for place, shop_id, id_ in sharing:
            part = parts[shop_id, id_]
            if (shop_id, part.id, part.digest) in others:
                lonely.append(place)
            else:
                changed.append((place, shop_id, id_, part.id))
        if changed:
            connection.execute(_REPLACE, [list(column) for column in zip(*changed, strict=True)])
        if lonely:
            connection.execute(_UNSHARE, [lonely])
    return len(sharing)


def _without_user_agents(connection: Connection, places: set[_Place]) -> dict[_Place, Part]:
    found = {}
    with connection.cursor(row_factory=dict_row) as cursor:
        columns = [list(column) for column in zip(*places, strict=True)] or [[], []]
        for row in cursor.execute(_READ, columns):
            place, month = (row.pop("shop_id"), row.pop("id")), row.pop("month")
            del row["digest"]
            row["context"].pop(_USER_AGENT)
            fields = {name: value for name, value in row.items() if value is not None}
            found[place] = part_of(month, "browser", fields)
    return found
