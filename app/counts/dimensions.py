"""Who a visitor is, in SQL over `events` e and `batches` b and in Python; both say the same."""

from hashlib import md5

from app.batch.news import LATEST

# genlook_client_id, or the session where it is missing; null where both are.
VISITOR = "coalesce(nullif(b.client_id, ''), nullif(b.session_id, ''))"
VISITOR_KEY = f"md5({VISITOR})::uuid"

IS_LATE = f"e.occurred_at < b.received_at - interval '{LATEST.days} days'"


def visitor_key(visitor: str) -> str:
    """32 hexadecimal digits; what VISITOR_KEY is for VISITOR."""
    return md5(visitor.encode(), usedforsecurity=False).hexdigest()
