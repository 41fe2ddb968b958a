"""Every reply's form, made in one place, whoever sends it."""

from dataclasses import dataclass
from typing import Any

import orjson

Detail = dict[str, str]  # {"path": "events.0.timestamp", "message": "..."}

SUCCESS = b'{"success":true}'

# On every reply that does not say otherwise.
HEADERS = {
    "Cache-Control": "private, no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Refusal(Exception):
    """A reply other than success, raised where its cause is found."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        details: list[Detail] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.details = status, code, message, details


@dataclass(frozen=True, slots=True)
class Reply:
    """JSON, before it is anybody's response."""

    body: bytes
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


def envelope(code: str, message: str, details: list[Detail] | None = None) -> bytes:
    """The body of every reply that is not a success."""
    body: dict[str, Any] = {"success": False, "code": code, "message": message}
    if details is not None:
        body["details"] = details
    return orjson.dumps(body)


def refusal_reply(refusal: Refusal) -> Reply:
    return Reply(envelope(refusal.code, refusal.message, refusal.details), refusal.status)
