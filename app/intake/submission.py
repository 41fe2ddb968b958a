"""What the journals are offered: a batch, and what only the web process that offers it knows."""

from dataclasses import dataclass
from datetime import datetime
from typing import Self

from app.batch.batch import Batch, Context, Event, Rejected, digest
from app.batch.news import announce
from app.batch.visitor import visitor_of


@dataclass(slots=True)
class Submission:
    """A batch by itself is one that the spool gives back: it was limited and counted when its
    caller sent it. `build` makes what a caller sent just now."""

    batch: Batch
    from_caller: bool = False
    visitor: str = ""  # a digest in hexadecimal digits; "" where the caller named none
    size: int = 0  # bytes of the body, unpacked, without what was rejected of it
    repeats: int = 0  # events whose id stood in the same request before
    rejected_count: int = 0

    @property
    def valid_count(self) -> int:
        return len(self.batch.events) + self.repeats

    @property
    def received_count(self) -> int:
        return self.valid_count + self.rejected_count

    @classmethod
    def build(
        cls,
        *,
        shop: str,
        customer_id: str | None,
        received_at: datetime,
        context: Context,
        events: list[Event],
        rejected: list[Rejected],
        size: int,
    ) -> Self:
        """Render a request; `size` is that of its body, unpacked, in bytes."""
        batch = Batch.build(
            shop=shop,
            customer_id=customer_id,
            received_at=received_at,
            context=context,
            events=events,
            rejected=rejected,
        )
        batch.news = announce(batch, context, events, received_at)
        columns = context.columns
        visitor = visitor_of(columns.get("client_id"), columns.get("session_id"))
        return cls(
            batch,
            True,
            digest(visitor).hex() if visitor else "",
            size - sum(len(one.payload) for one in rejected) if rejected else size,
            len(events) - len(batch.events),
            len(rejected),
        )
