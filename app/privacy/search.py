"""Finding in Postgres what is of a shopper. What was received from `before` on does not count."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from typing import Any, NamedTuple

from psycopg import Connection, sql

from app.batch.addresses import in_value
from app.batch.visitor import named
from app.privacy.subject import Fingerprints, Subject
from app.store import walks
from app.store.walks import Progress, batch_windows, event_windows, partitions

_EMAIL_EVENT = "widget:email_collected"


class EventKey(NamedTuple):
    partition: str
    occurred_at: str
    insert_key: Any


@dataclass
class Found:
    """`batch_ids`: whole batches; `events`: events of others with the shopper's address."""

    browsers: set[str] = field(default_factory=set)
    batch_ids: set[int] = field(default_factory=set)
    events: list[EventKey] = field(default_factory=list)
    others: set[int] = field(default_factory=set)  # the batches that hold those
    rejected_ids: list[int] = field(default_factory=list)


def find(
    connection: Connection, shop_id: int, subject: Subject, before: datetime, progress: Progress
) -> Found:
    """All batches and single events of a shopper."""
    found = Found(set(subject.browsers), set(subject.batch_ids))
    if subject.customer_id:
        rows = _batches(
            connection, shop_id, before, progress,
            "customer_id = %(customer)s", customer=subject.customer_id,
        )  # fmt: skip
        _add(found, rows)
    if subject.emails:
        fingerprints = subject.fingerprints()
        # Beyond ASCII, and where JSON escapes something, the texts are compared below alone.
        condition = sql.SQL(
            "(concat(e.properties::text, e.extra::text) ~ '[^\\x01-\\x5b\\x5d-\\x7f]' OR EXISTS ("
            "SELECT 1 FROM unnest(%(emails)s::text[]) AS address WHERE"
            " strpos(lower(concat(e.properties::text, e.extra::text)), lower(address)) > 0))"
        )
        for row in _email_events(
            connection, shop_id, before, progress, condition, emails=list(subject.emails)
        ):
            _add_email_event(found, row, fingerprints)
    clients = {*subject.client_ids, *found.browsers}
    if clients:
        rows = _batches(
            connection, shop_id, before, progress,
            "(client_id = ANY(%(named)s) OR client_id = ANY(%(browsers)s)"
            " AND (customer_id IS NULL OR customer_id = %(customer)s))",
            named=list(subject.client_ids), browsers=list(found.browsers),
            customer=subject.customer_id,
        )  # fmt: skip
        found.batch_ids.update(id_ for id_, _ in rows)
    return found


def find_late(
    connection: Connection, shop_id: int, fingerprints: Fingerprints, before: datetime, after: int
) -> Found:
    """What has arrived since all batches up to `after` were searched."""
    found = Found()
    candidates = connection.execute(
        "SELECT id, customer_id, client_id FROM batches"
        " WHERE shop_id = %s AND id > %s AND received_at < %s",
        [shop_id, after, before],
    ).fetchall()
    for id_, customer_id, client_id in candidates:
        if fingerprints.owns(customer_id, client_id):
            found.batch_ids.add(id_)
            if named(client_id) and fingerprints.owns(customer_id, None):
                found.browsers.add(client_id)
    others = [id_ for id_, _, _ in candidates if id_ not in found.batch_ids]
    if others and fingerprints.emails:
        for row in _email_events(
            connection, shop_id, before, _silent,
            sql.SQL("e.batch_id = ANY(%(ids)s::bigint[])"), ids=others,
        ):  # fmt: skip
            _add_email_event(found, row, fingerprints)
    return found


def find_late_of_shop(
    connection: Connection, shop: str, shop_id: int, before: datetime, after: int
) -> Found:
    """The same for all that a shop has sent."""
    batches = connection.execute(
        "SELECT id FROM batches WHERE shop_id = %s AND id > %s AND received_at < %s",
        [shop_id, after, before],
    ).fetchall()
    rejected = connection.execute(
        "SELECT id FROM rejected_events WHERE shop_domain = %s AND received_at < %s",
        [shop, before],
    ).fetchall()
    return Found(batch_ids={row[0] for row in batches}, rejected_ids=[row[0] for row in rejected])


def _batches(
    connection: Connection,
    shop_id: int,
    before: datetime,
    progress: Progress,
    condition: str,
    **values: Any,
) -> list[tuple[int, str | None]]:
    """Ids and client ids of a shop's batches for which the condition holds."""
    found: list[tuple[int, str | None]] = []
    for after, last, number in batch_windows(connection, shop_id):
        found += connection.execute(
            sql.SQL(
                "SELECT id, client_id FROM batches WHERE shop_id = %(shop)s"
                " AND id > %(after)s AND id <= %(last)s AND received_at < %(before)s AND "
            )
            + sql.SQL(condition),
            {"shop": shop_id, "after": after, "last": last, "before": before, **values},
        ).fetchall()
        progress("batches", number)
    return found


def _email_events(
    connection: Connection,
    shop_id: int,
    before: datetime,
    progress: Progress,
    condition: sql.SQL,
    **values: Any,
) -> Iterator[tuple[EventKey, int, Any, Any, str | None, str | None]]:
    for partition in partitions(connection):
        for window, bounds in event_windows(connection, shop_id, partition):
            rows = connection.execute(
                sql.SQL(
                    "SELECT e.occurred_at::text, e.insert_key, e.batch_id, e.properties, e.extra"
                    " FROM {} AS e WHERE {} AND e.event = %(event)s AND {}"
                ).format(sql.Identifier(partition), window, condition),
                {**bounds, "event": _EMAIL_EVENT, **values},
            ).fetchall()
            senders = _senders(connection, shop_id, {row[2] for row in rows}, before)
            for occurred_at, insert_key, batch_id, properties, extra in rows:
                if batch_id in senders:
                    key = EventKey(partition, occurred_at, insert_key)
                    yield key, batch_id, properties, extra, *senders[batch_id]
            progress("events", walks.WINDOW_ROWS)


def _senders(
    connection: Connection, shop_id: int, ids: set[int], before: datetime
) -> dict[int, tuple[str | None, str | None]]:
    """Customer and client id of each of the batches that was received before."""
    rows = connection.execute(
        "SELECT id, customer_id, client_id FROM batches"
        " WHERE shop_id = %s AND id = ANY(%s) AND received_at < %s",
        [shop_id, list(ids), before],
    )
    return {id_: (customer_id, client_id) for id_, customer_id, client_id in rows}


def _add(found: Found, rows: Sequence[tuple[int, str | None]]) -> None:
    found.batch_ids.update(id_ for id_, _ in rows)
    found.browsers.update(client for _, client in rows if client and named(client))


def _add_email_event(found: Found, row: tuple[Any, ...], fingerprints: Fingerprints) -> None:
    key, batch_id, properties, extra, customer_id, client_id = row
    if not fingerprints.mentions(chain(in_value(properties), in_value(extra))):
        return
    if customer_id is None or fingerprints.owns(customer_id, None):
        _add(found, [(batch_id, client_id)])
    else:  # another customer has given the shopper's address
        found.events.append(key)
        found.others.add(batch_id)


def _silent(*_: object) -> None:
    pass
