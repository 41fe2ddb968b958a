"""The table privacy_requests: a queue, and the proof of what was done."""

from collections import Counter
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg import Connection, sql
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from app.batch.json import dump_json
from app.privacy.subject import Fingerprints, Subject

ERASE_CUSTOMER = "erase_customer"
ERASE_SHOP = "erase_shop"
EXPORT_CUSTOMER = "export_customer"

COMMAND = "command"  # the source of what was asked for by hand

DONE = "done"
INSTALLED_AGAIN = "installed again"  # nothing was erased
ERASED = "erased"  # who asked for an export was erased before there was one

# The states, as the column `state` computes them from the others.
EXPORTING = "exporting"
SEARCHING = "searching"
SETTLING = "settling"
WATCHING = "watching"
CLOSING = "closing"  # cut off between the outcome and the end
CLOSED = "closed"
FAILED = "failed"  # and not tried again before `retry`
_NEVER = datetime(9999, 1, 1, tzinfo=UTC)  # by which the column tells what has failed

EXPORT_RETENTION = timedelta(days=30)  # as long as Shopify leaves for the answer
MOST_TRIES = 10  # within about 10 minutes, where an error does not heal by itself
_KILLED = "its process was killed"  # the cause of a try that nobody has ended
_LEASE = timedelta(seconds=30)  # for which nobody else takes a request; renewed while it goes on


@dataclass
class Request:
    """A row."""

    id: int
    kind: str
    shop_domain: str
    source: str
    requested_at: datetime
    subject: dict[str, Any] | None
    traces: dict[str, Any] | None
    due_at: datetime | None
    attempts: int
    started_at: datetime | None
    searched_at: datetime | None
    batches_to: int | None
    rejected_to: int | None
    erased: dict[str, int]
    outcome: str | None
    completed_at: datetime | None
    export: Any
    expires_at: datetime | None
    state: str
    cause: str | None  # of the last failure that does not heal by itself
    tries: int  # before this one, which failed so or ended with their process

    @property
    def is_exported(self) -> bool:
        """Whether there is an export that has not expired."""
        return bool(self.export and self.expires_at and self.expires_at > datetime.now(UTC))

    @property
    def who(self) -> Subject:
        return Subject.from_json(self.subject or {})

    @property
    def fingerprints(self) -> Fingerprints:
        return Fingerprints.from_json(self.traces or {"salt": ""})


_OF_FAILURES = {
    "cause": sql.SQL(
        "(SELECT cause FROM privacy_failures WHERE request_id = privacy_requests.id) AS cause"
    ),
    "tries": sql.SQL(
        "coalesce((SELECT tries FROM privacy_failures WHERE request_id = privacy_requests.id), 0)"
        " AS tries"
    ),
}
_COLUMNS = sql.SQL(", ").join(
    _OF_FAILURES.get(field.name, sql.Identifier(field.name)) for field in fields(Request)
)


def add(
    connection: Connection,
    kind: str,
    shop: str,
    subject: Subject,
    *,
    source: str,
    requested_at: datetime,
) -> int:
    """Put a request into the queue; returns its id."""
    [(id_,)] = connection.execute(
        "INSERT INTO privacy_requests (kind, shop_domain, source, requested_at, subject)"
        " VALUES (%s, %s, %s, %s, %s) RETURNING id",
        [kind, shop, source, requested_at, Jsonb(subject.as_json())],
    )
    return int(id_)


def take_due(connection: Connection, id_: int | None = None) -> Request | None:
    """Take a request that is due, or one by its id; nobody else takes it before the lease is over.
    A worker that is killed with it leaves it to the next. The try counts from now on."""
    with connection.transaction(), connection.cursor(row_factory=class_row(Request)) as cursor:
        request = cursor.execute(
            sql.SQL(
                "UPDATE privacy_requests SET due_at = now() + %(lease)s,"
                " started_at = coalesce(started_at, now())"
                " WHERE id = (SELECT id FROM privacy_requests"
                " WHERE due_at <= now() AND (%(id)s::bigint IS NULL OR id = %(id)s)"
                " ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING {}"
            ).format(_COLUMNS),
            {"lease": _LEASE, "id": id_},
        ).fetchone()
        if request:
            connection.execute(
                "INSERT INTO privacy_failures AS known VALUES (%s, %s, 1, %s, now())"
                " ON CONFLICT (request_id) DO UPDATE"
                " SET tries = known.tries + 1, cause = EXCLUDED.cause, failed_at = now()",
                [request.id, request.shop_domain, _KILLED],
            )
        return request


def find(
    connection: Connection, *, id_: int | None = None, shop: str | None = None
) -> list[Request]:
    """The newest first."""
    with connection.cursor(row_factory=class_row(Request)) as cursor:
        return cursor.execute(
            sql.SQL(
                "SELECT {} FROM privacy_requests WHERE (%(id)s::bigint IS NULL OR id = %(id)s)"
                " AND (%(shop)s::text IS NULL OR shop_domain = %(shop)s)"
                " ORDER BY requested_at DESC, id DESC"
            ).format(_COLUMNS),
            {"id": id_, "shop": shop},
        ).fetchall()


def renew(connection: Connection, request: Request) -> None:
    connection.execute(
        "UPDATE privacy_requests SET due_at = now() + %s WHERE id = %s", [_LEASE, request.id]
    )


def remember(
    connection: Connection, request: Request, subject: Subject, fingerprints: Fingerprints
) -> None:
    """Who is meant, before what tells it is deleted."""
    request.subject, request.traces = subject.as_json(), fingerprints.as_json()
    connection.execute(
        "UPDATE privacy_requests SET subject = %s, traces = %s WHERE id = %s",
        [Jsonb(request.subject), Jsonb(request.traces), request.id],
    )


def searched(connection: Connection, request: Request, batches_to: int, rejected_to: int) -> None:
    """All of what was there is searched; from now on only what comes after."""
    request.batches_to, request.rejected_to = batches_to, rejected_to
    [(request.searched_at,)] = connection.execute(
        "UPDATE privacy_requests SET batches_to = %s, rejected_to = %s, traces = %s,"
        " searched_at = coalesce(searched_at, now()) WHERE id = %s RETURNING searched_at",
        [batches_to, rejected_to, Jsonb(request.traces), request.id],
    )


def count(connection: Connection, request: Request, erased: Counter[str]) -> None:
    """Add to the numbers of rows that were deleted."""
    if +erased:
        request.erased = dict(Counter(request.erased) + erased)
        connection.execute(
            "UPDATE privacy_requests SET erased = %s WHERE id = %s",
            [Jsonb(request.erased), request.id],
        )


def go_on_after(connection: Connection, request: Request, pause: timedelta) -> None:
    connection.execute(
        "UPDATE privacy_requests SET due_at = now() + %s, attempts = 0 WHERE id = %s",
        [pause, request.id],
    )
    _forget_failures(connection, request)


def close(connection: Connection, request: Request) -> None:
    """Nothing is left to do, and what was needed to recognize late batches goes."""
    connection.execute(
        "UPDATE privacy_requests SET due_at = NULL, attempts = 0, traces = NULL WHERE id = %s",
        [request.id],
    )
    _forget_failures(connection, request)


def failed(connection: Connection, request: Request, cause: str, *, heals: bool) -> bool:
    """Try again, after pauses that grow from 1 s to 10 minutes. Where the error does not heal by
    itself, a few times only; returns whether this was the last."""
    if heals:
        does_not_count(connection, request.id)
    elif _tries_with_this(connection, request, cause) >= MOST_TRIES:
        give_up(connection, request)
        return True
    connection.execute(
        "UPDATE privacy_requests SET attempts = attempts + 1,"
        " due_at = now() + least(interval '1 s' * 2 ^ least(attempts, 10), interval '10 min')"
        " WHERE id = %s",
        [request.id],
    )
    return False


def does_not_count(connection: Connection, id_: int) -> None:
    """Take the last try back, which nothing of the request has ended."""
    connection.execute("UPDATE privacy_failures SET tries = tries - 1 WHERE request_id = %s", [id_])


def give_up(connection: Connection, request: Request) -> None:
    """Leave the request to the operator, who sees it as failed."""
    connection.execute(
        "UPDATE privacy_requests SET due_at = %s, attempts = attempts + 1 WHERE id = %s",
        [_NEVER, request.id],
    )


def retry(connection: Connection, id_: int) -> bool:
    """Take a request up again that failed; False where it did not."""
    with connection.transaction():
        connection.execute("DELETE FROM privacy_failures WHERE request_id = %s", [id_])
        return bool(
            connection.execute(
                "UPDATE privacy_requests SET due_at = now(), attempts = 0"
                " WHERE id = %s AND state = %s",
                [id_, FAILED],
            ).rowcount
        )


def _tries_with_this(connection: Connection, request: Request, cause: str) -> int:
    row = connection.execute(
        "UPDATE privacy_failures SET cause = %s WHERE request_id = %s RETURNING tries",
        [cause, request.id],
    ).fetchone()
    return row[0] if row else 0  # none where the operator has just said `retry`


def _forget_failures(connection: Connection, request: Request) -> None:
    connection.execute("DELETE FROM privacy_failures WHERE request_id = %s", [request.id])


def complete(
    connection: Connection, request: Request, outcome: str, export: dict[str, Any] | None = None
) -> bool:
    """From now on the row holds no personal data, but for an export until it expires. Whether it
    was not complete yet: an erasure may have been faster."""
    request.outcome = outcome
    return (
        connection.execute(
            "UPDATE privacy_requests SET completed_at = now(), outcome = %s, subject = %s,"
            " export = %s, expires_at = now() + %s WHERE id = %s AND outcome IS NULL",
            [
                outcome,
                Jsonb(request.subject) if export else None,
                Jsonb(export, dumps=dump_json) if export else None,
                EXPORT_RETENTION if export else None,
                request.id,
            ],
        ).rowcount
        == 1
    )


def delete_exports(connection: Connection, shop: str, fingerprints: Fingerprints | None) -> int:
    """Those of a shopper, or all of the shop, also those that are still to be made; returns how
    many were there."""
    rows = connection.execute(
        "SELECT id, subject, outcome IS NOT NULL FROM privacy_requests WHERE shop_domain = %s"
        " AND kind = %s AND (export IS NOT NULL OR outcome IS NULL)",
        [shop, EXPORT_CUSTOMER],
    ).fetchall()
    found = [row for row in rows if fingerprints is None or _is_about(row[1], fingerprints)]
    connection.execute(
        "UPDATE privacy_requests SET export = NULL, subject = NULL, traces = NULL, due_at = NULL,"
        " outcome = coalesce(outcome, %s), completed_at = coalesce(completed_at, now())"
        " WHERE id = ANY(%s)",
        [ERASED, [id_ for id_, _, _ in found]],
    )
    # After that: nobody adds a piece to a request that is closed.
    connection.execute(
        "DELETE FROM export_pieces WHERE request_id = ANY(%s)", [[id_ for id_, _, _ in found]]
    )
    return sum(was_made for _, _, was_made in found)


def delete_expired(connection: Connection) -> int:
    return connection.execute(
        "UPDATE privacy_requests SET export = NULL, subject = NULL, traces = NULL"
        " WHERE expires_at < now() AND export IS NOT NULL"
    ).rowcount


def _is_about(document: dict[str, Any], fingerprints: Fingerprints) -> bool:
    subject = Subject.from_json(document)
    return (
        fingerprints.owns(subject.customer_id, None)
        or any(
            fingerprints.owns(None, client) for client in (*subject.client_ids, *subject.browsers)
        )
        or fingerprints.mentions(subject.emails)
    )
