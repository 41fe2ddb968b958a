"""What is counted of an event, in SQL over `events` e and `batches` b, and who a visitor is in
Python; both say the same as announcements do (app.batch.news)."""

from hashlib import md5

from app.batch.news import LATEST, WITHOUT_WIDGET
from app.batch.visitor import IS_EVENT_NOBODYS, VISITOR

VISITOR_KEY = f"md5({VISITOR})::uuid"

_IS_LATE = f"e.occurred_at < b.received_at - interval '{LATEST.days} days'"
# What an event is called in announcements; `b` also tells whether it is nobody's
# (IS_BATCH_NOBODYS), and whether it is without a widget (IS_WITHOUT_WIDGET).
NAME = (
    f"CASE WHEN NOT b.is_nobodys AND NOT ({_IS_LATE}) AND NOT {IS_EVENT_NOBODYS}"
    f" THEN CASE WHEN b.is_without_widget THEN '{WITHOUT_WIDGET}' || e.event ELSE e.event END END"
)


def visitor_key(visitor: str) -> str:
    """32 hexadecimal digits; what VISITOR_KEY is for VISITOR."""
    return md5(visitor.encode(), usedforsecurity=False).hexdigest()
