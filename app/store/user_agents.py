"""Raw user agents go earlier than the rest: out of the rows that hold one themselves, and from the
batches that share one, which then share a context without it."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from psycopg import Connection, sql
from psycopg.rows import dict_row

from app.batch.batch import BATCH_COLUMNS
from app.store import contexts, walks
from app.store.batches import doubt
from app.store.contexts import Part, part_of
from app.store.walks import Progress

_USER_AGENT = "$raw_user_agent"
_DAYS_ONE_BY_ONE = 400

_SHARING = """
    SELECT stored.shop_id, stored.id, stored.browser_part FROM stored_batches AS stored
    JOIN contexts ON contexts.shop_id = stored.shop_id AND contexts.id = stored.browser_part
    WHERE received_at >= %(since)s::timestamptz AND received_at < %(until)s
    AND contexts.context ? '$raw_user_agent' LIMIT %(most)s"""
_READ = """
    SELECT contexts.*, to_char(month, 'YYYY-MM') AS month FROM contexts
    WHERE shop_id = %s AND id = ANY(%s)"""
_REPLACE = """
    UPDATE stored_batches AS stored SET browser_part = changed.part
    FROM unnest(%(ids)s::bigint[], %(old)s::integer[], %(new)s::integer[])
        AS changed (id, old, part)
    WHERE stored.shop_id = %(shop)s AND stored.id = changed.id
    AND stored.browser_part = changed.old"""
_SHARED = """
    SELECT shop_id, browser_part, page_part FROM stored_batches
    WHERE shop_id = %(shop)s AND id = ANY(%(ids)s::bigint[])"""
# Where another context has the id that the new one would have: nothing is shared any more.
_UNSHARE = sql.SQL(
    "UPDATE stored_batches AS stored SET {columns}, context = whole.context - '$raw_user_agent',"
    " client = NULL, session = NULL, pageview = NULL, browser_part = NULL, page_part = NULL"
    " FROM batches AS whole WHERE stored.shop_id = %(shop)s AND stored.id = ANY(%(ids)s::bigint[])"
    " AND whole.shop_id = %(shop)s AND whole.id = stored.id"
).format(
    columns=sql.SQL(", ").join(
        sql.SQL("{0} = whole.{0}").format(sql.Identifier(name))
        for name in BATCH_COLUMNS
        if name != "context"
    )
)


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
        by_shop: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
        for shop_id, id_, part in sharing:
            by_shop[shop_id].append((id_, part))
        for shop_id, of_shop in sorted(by_shop.items()):
            _share_another_of(connection, shop_id, of_shop)
    return len(sharing)


def _share_another_of(
    connection: Connection, shop_id: int, sharing: Sequence[tuple[int, int]]
) -> None:
    """Of a shop's batches, each with its part."""
    parts = _without_user_agents(connection, shop_id, {part for _, part in sharing})
    others = contexts.insert(connection, ((shop_id, part) for part in parts.values()))
    changed, lonely = [], []
    for id_, old in sharing:
        part = parts[old]
        if (shop_id, part.id, part.digest) in others:
            lonely.append(id_)
        else:
            changed.append((id_, old, part.id))
    if changed:
        ids, old_parts, new_parts = map(list, zip(*changed, strict=True))
        connection.execute(
            _REPLACE, {"shop": shop_id, "ids": ids, "old": old_parts, "new": new_parts}
        )
        doubt(connection, ((shop_id, part) for part in old_parts))
    if lonely:
        values = {"shop": shop_id, "ids": lonely}
        shared = connection.execute(_SHARED, values).fetchall()
        connection.execute(_UNSHARE, values)
        doubt(connection, shared)


def _without_user_agents(
    connection: Connection, shop_id: int, ids: Collection[int]
) -> dict[int, Part]:
    """By the ids of a shop's parts."""
    found = {}
    with connection.cursor(row_factory=dict_row) as cursor:
        for row in cursor.execute(_READ, [shop_id, list(ids)]):
            id_, month = row.pop("id"), row.pop("month")
            del row["digest"], row["shop_id"]
            row["context"].pop(_USER_AGENT)
            fields = {name: value for name, value in row.items() if value is not None}
            found[id_] = part_of(month, "browser", fields)
    return found
