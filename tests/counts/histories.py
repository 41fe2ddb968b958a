"""Histories of a shop's visitors, stored as the worker stores them."""

import itertools
from datetime import UTC, datetime, timedelta

from app.batch.batch import Batch, Context, Event
from app.counts.rollups import count_new
from app.store.writer import Writer
from tests.calls import SHOP

_ids = itertools.count()
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)

PAGE = "product_page:page_view"
BUTTON = "widget:button_click"
UPLOAD = "widget:image_upload"
START = "widget:generation_start"
RESULT = "widget:result_view"
CART_CLICK = "widget:add_to_cart_clicked"
ADDED = "widget:add_to_cart_success"
CART_ADD = "product_page:cart_add"
FUNNEL = (PAGE, BUTTON, UPLOAD, START, RESULT, CART_CLICK, ADDED)


def batch(visitor, *events, shop=SHOP, rest=b"{}", **columns):
    """`events` are pairs of a name and a time, or of a name and minutes after NOON."""
    if visitor is not None:
        columns["client_id"] = visitor
    return Batch.build(
        shop=shop,
        customer_id=None,
        received_at=max(moment(at) for _, at in events),
        context=Context(columns, rest),
        events=[Event(name, f"id-{next(_ids)}", moment(at), b"{}", b"{}") for name, at in events],
        rejected=[],
    )


def midnight(days_ago=0):
    """The beginning of a day, UTC: a moment of today, whatever time it is."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return today - timedelta(days=days_ago)


def today():
    return midnight().date()


def moment(at):
    return at if isinstance(at, datetime) else NOON + timedelta(minutes=at)


def visit(visitor, steps, *, minutes=0, names=FUNNEL, **columns):
    """A batch in which the visitor does the first `steps` of `names`, a minute apart."""
    events = [(name, minutes + number) for number, name in enumerate(names[:steps])]
    return batch(visitor, *events, **columns)


def store(connection, *batches):
    Writer(statement_timeout=10_000).write(connection, list(batches))


def count_all(connection):
    while count_new(connection):
        pass
