"""The table export_pieces: the rows of an export, which may be more than one value can hold."""

import secrets
from collections.abc import Iterator
from textwrap import indent
from typing import Any

from psycopg import Connection

from app.batch.json import dump_json
from app.privacy.requests import Request

# For whoever reads the row, or prints it by a release that does not know of pieces.
NOTE = "the events are in the table export_pieces: print this with the release that made it"
KINDS = ("events", "rejected_events")


class NotWanted(Exception):
    """The shopper was erased, or another worker has made the export."""


class Pieces:
    """The pieces of one attempt to make an export; they count once its number is in the request."""

    def __init__(self, connection: Connection, request: Request) -> None:
        self.attempt = secrets.randbits(62)
        self._connection = connection
        self._request = request
        self._number = 0

    def add(self, kind: str, rows: list[dict[str, Any]]) -> None:
        """NotWanted."""
        self._number += 1
        text = ",\n".join(indent(dump_json(row, indented=True).decode(), "    ") for row in rows)
        # The lock makes an erasure, which closes the request first, find every piece.
        added = self._connection.execute(
            "INSERT INTO export_pieces SELECT id, %s, %s, shop_domain, %s, %s"
            " FROM privacy_requests WHERE id = %s AND outcome IS NULL FOR SHARE",
            [self.attempt, self._number, kind, text, self._request.id],
        )
        if not added.rowcount:
            raise NotWanted

    def delete_earlier(self) -> None:
        """Those of attempts that were interrupted."""
        self._connection.execute(
            "DELETE FROM export_pieces WHERE request_id = %s AND attempt <> %s",
            [self._request.id, self.attempt],
        )

    def delete(self) -> None:
        self._connection.execute(
            "DELETE FROM export_pieces WHERE request_id = %s AND attempt = %s",
            [self._request.id, self.attempt],
        )


def delete_orphans(connection: Connection) -> int:
    """Pieces of exports that have expired, or were never finished."""
    return connection.execute(
        "DELETE FROM export_pieces WHERE NOT EXISTS (SELECT 1 FROM privacy_requests"
        " WHERE id = request_id"
        " AND (outcome IS NULL OR (export ->> 'pieces')::bigint = attempt))"
    ).rowcount


def as_json(connection: Connection, request: Request) -> Iterator[str]:
    """The whole export as JSON text, a piece at a time."""
    head = dict(request.export)
    attempt = head.pop("pieces", None)
    if attempt is None:  # made by an earlier release, in one
        yield dump_json(head, indented=True).decode()
        return
    del head["note"]
    yield dump_json(head, indented=True).decode().removesuffix("\n}")
    for kind in KINDS:
        yield f',\n  "{kind}": ['
        before = "\n"
        for rows in _rows(connection, request.id, attempt, kind):
            yield before + rows
            before = ",\n"
        yield "]" if before == "\n" else "\n  ]"
    yield "\n}"


def _rows(connection: Connection, request_id: int, attempt: int, kind: str) -> Iterator[str]:
    number = 0
    while row := connection.execute(
        "SELECT number, rows FROM export_pieces"
        " WHERE request_id = %s AND attempt = %s AND number > %s AND kind = %s"
        " ORDER BY number LIMIT 1",
        [request_id, attempt, number, kind],
    ).fetchone():
        number = row[0]
        yield row[1]
