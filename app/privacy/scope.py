"""All that a request is about, wherever it is: stored, rejected, or waiting in a journal."""

from collections import Counter
from collections.abc import Callable
from datetime import datetime

from psycopg import Connection

from app.batch.batch import Batch
from app.privacy import erasure, search, search_rejected
from app.privacy.requests import ERASE_SHOP, Request
from app.privacy.search import Found
from app.privacy.senders import belongs_to, sender, was_received_before
from app.privacy.subject import Subject
from app.privacy.waiting import Journals
from app.store import shops
from app.store.walks import Progress


def find(
    connection: Connection,
    journals: Journals,
    shop: str,
    subject: Subject,
    before: datetime,
    progress: Progress,
) -> tuple[Subject, Found]:
    """All that is stored of a shopper, and who they turned out to be. redis.RedisError."""
    shop_id = shops.find_id(connection, shop)
    known = _with_waiting_browsers(journals, shop, subject, before)
    if known.customer_id:
        browsers = search_rejected.browsers(connection, shop, known.customer_id, before)
        known = known.with_found(browsers, [])
    found = Found()
    if shop_id is not None:
        found = search.find(connection, shop_id, known, before, progress)
        known = known.with_found(found.browsers, found.batch_ids)
    found.rejected_ids = search_rejected.find(
        connection, shop, known.fingerprints(), before, after=0, progress=progress
    )
    return known, found


def count(
    connection: Connection,
    journals: Journals,
    shop: str,
    subject: Subject,
    before: datetime,
    progress: Progress,
) -> Counter[str]:
    """What an erasure of a shopper would delete. redis.RedisError."""
    known, found = find(connection, journals, shop, subject, before, progress)
    number = erasure.count(connection, shops.find_id(connection, shop) or 0, found, progress)
    is_meant = belongs_to(known.fingerprints(), before)
    number["waiting_batches"] = sum(map(is_meant, journals.batches(shop)))
    return number


def count_shop(
    connection: Connection, journals: Journals, shop: str, before: datetime
) -> Counter[str]:
    """The same for a shop. redis.RedisError."""
    number = erasure.count_shop(connection, shop, shops.find_id(connection, shop) or 0)
    is_meant = was_received_before(before)
    number["waiting_batches"] = sum(map(is_meant, journals.batches(shop)))
    return number


def is_meant_by(request: Request) -> Callable[[Batch], bool]:
    """Tells of a waiting batch of the request's shop whether to erase it."""
    if request.kind == ERASE_SHOP:
        return was_received_before(request.requested_at)
    return belongs_to(request.fingerprints, request.requested_at)


def _with_waiting_browsers(
    journals: Journals, shop: str, subject: Subject, before: datetime
) -> Subject:
    if not subject.customer_id:
        return subject
    browsers = {
        client_id
        for known in map(sender, journals.batches(shop))
        if known.customer_id == subject.customer_id
        and (known.received_at is None or known.received_at < before)
        for client_id in known.client_ids
    }
    return subject.with_found(browsers, [])
