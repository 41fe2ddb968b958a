"""What is queued for the reports in the transaction that stores it."""

from datetime import UTC, datetime

import pytest

from app.batch.batch import Batch, Context, Event
from app.store.unreported import enqueue_for_reports


def at(hour, minute=0):
    return datetime(2024, 1, 15, hour, minute, tzinfo=UTC)


def batch(*times):
    return Batch.build(
        shop="a-shop.myshopify.com", customer_id=None, received_at=at(12), context=Context(),
        events=[Event("a:b", f"{n}", time, b"{}", b"{}") for n, time in enumerate(times)],
        rejected=[],
    )  # fmt: skip


@pytest.fixture
def queued(database):
    """Queues batches of a shop each, from 7 on; the spans by shop, and the ids."""

    def queued(*batches):
        ids = enqueue_for_reports(database, list(enumerate(batches, start=7)))
        rows = database.execute(
            "SELECT span.* FROM unreported_batches,"
            " unnest(shop_ids, batch_ids, first_at, last_at)"
            " AS span (shop_id, batch_id, first_at, last_at)"
        ).fetchall()
        return rows, ids

    return queued


def test_a_batch_of_one_hour_has_one_span(queued):
    spans, ids = queued(batch(at(9, 5), at(9, 1), at(9, 3)), batch(at(10)))
    assert len(set(ids)) == 2
    assert spans == [(7, ids[0], at(9, 1), at(9, 5)), (8, ids[1], at(10), at(10))]


def test_events_of_several_hours_have_a_span_for_each_hour(queued):
    spans, ids = queued(
        batch(at(10)), batch(at(9, 1), at(3), at(9, 2), at(11)), batch(at(12), at(12, 1))
    )
    assert len(set(ids)) == 3
    assert [batch_id for _, batch_id, _, _ in spans] == [ids[0], *[ids[1]] * 3, ids[2]]
    assert {span[2:] for span in spans if span[0] == 8} == {
        (at(9, 1), at(9, 2)), (at(3), at(3)), (at(11), at(11))
    }  # fmt: skip
    assert spans[-1] == (9, ids[2], at(12), at(12, 1))
