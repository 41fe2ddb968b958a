"""Which shops have the app: to the moment."""

from datetime import UTC, datetime, timedelta

import pytest

from app.batch.batch import Batch, Context, Rejected
from app.store import shops
from app.store.writer import Writer
from tests.calls import SHOP
from tests.counts.histories import batch, store

GONE = datetime(2026, 5, 1, 12, tzinfo=UTC)
TICK = timedelta(microseconds=1)
OTHER = "b.myshopify.com"


@pytest.fixture
def uninstalled(database):
    shops.mark_uninstalled(database, SHOP, GONE)
    return database


def rejected(at, code="VALIDATION_FAILED", shop=SHOP):
    return Batch.build(
        shop=shop, customer_id=None, received_at=at, context=Context(), events=[],
        rejected=[Rejected(None, code, [], "{}")],
    )  # fmt: skip


def test_of_a_shop_that_nobody_knows_nothing_is_known(database):
    assert shops.find_id(database, SHOP) is None
    assert not shops.has_app(database, SHOP)
    assert shops.uninstalled_at(database, SHOP) is None
    assert not shops.is_back(database, SHOP, GONE)
    assert shops.mark_returned(database) == []


def test_a_shop_has_the_app_from_the_moment_after_it_was_uninstalled(uninstalled):
    assert (shops.has_app(uninstalled, SHOP), shops.uninstalled_at(uninstalled, SHOP)) == (
        False, GONE
    )  # fmt: skip
    assert not shops.mark_installed(uninstalled, SHOP, GONE)
    assert not shops.has_app(uninstalled, SHOP)
    assert shops.mark_installed(uninstalled, SHOP, GONE + TICK)
    assert (shops.has_app(uninstalled, SHOP), shops.uninstalled_at(uninstalled, SHOP)) == (
        True, None
    )  # fmt: skip
    assert not shops.mark_installed(uninstalled, SHOP, GONE + 2 * TICK)  # no news


def test_it_is_gone_again_where_both_happened_at_the_same_moment(uninstalled):
    shops.mark_installed(uninstalled, SHOP, GONE + TICK)
    shops.mark_uninstalled(uninstalled, SHOP, GONE + TICK)
    assert shops.uninstalled_at(uninstalled, SHOP) == GONE + TICK
    assert not shops.has_app(uninstalled, SHOP)
    assert shops.mark_installed(uninstalled, SHOP, GONE + 2 * TICK)


def test_a_notice_that_comes_late_does_not_turn_the_clock_back(uninstalled):
    shops.mark_uninstalled(uninstalled, SHOP, GONE - timedelta(days=1))
    assert shops.uninstalled_at(uninstalled, SHOP) == GONE


def test_a_shop_that_is_known_by_what_it_sent_has_the_app(database):
    store(database, batch("a", ("a:b", GONE)))
    assert shops.has_app(database, SHOP)
    assert not shops.mark_installed(database, SHOP, GONE)
    assert not shops.is_back(database, SHOP, GONE)


def test_a_merchant_who_opens_the_app_first_makes_the_shop_known(database):
    assert shops.mark_installed(database, SHOP, GONE)
    assert shops.has_app(database, SHOP)


@pytest.mark.parametrize(("after", "is_back"), [(timedelta(0), False), (TICK, True)])
@pytest.mark.parametrize("kind", ["stored", "rejected", "waiting"])
def test_who_has_sent_something_since_is_back(uninstalled, kind, after, is_back):
    at = GONE + after
    if kind == "stored":
        store(uninstalled, batch("a", ("a:b", at)))
    elif kind == "rejected":
        store(uninstalled, rejected(at))
    waiting = at if kind == "waiting" else None
    assert shops.is_back(uninstalled, SHOP, waiting) == is_back
    assert (shops.uninstalled_at(uninstalled, SHOP) is None) == is_back
    assert shops.is_back(uninstalled, SHOP, None) == is_back


@pytest.mark.parametrize("code", ["UNREADABLE_ENTRY", "UNSTORABLE"])
def test_what_was_only_found_since_is_no_return(uninstalled, code):
    store(uninstalled, rejected(GONE + TICK, code))
    assert shops.mark_returned(uninstalled) == []


def test_each_shop_that_is_back_is_named_and_no_other(uninstalled):
    shops.mark_uninstalled(uninstalled, OTHER, GONE)
    shops.mark_uninstalled(uninstalled, "c.myshopify.com", GONE)
    shops.mark_installed(uninstalled, "c.myshopify.com", GONE + TICK)
    store(uninstalled, batch("a", ("a:b", GONE + TICK)))
    store(uninstalled, rejected(GONE + TICK, shop=OTHER))
    store(uninstalled, batch("a", ("a:b", GONE + TICK), shop="c.myshopify.com"))
    assert shops.mark_returned(uninstalled, OTHER) == [OTHER]
    assert shops.mark_returned(uninstalled) == [SHOP]
    assert shops.mark_returned(uninstalled) == []


def test_a_late_batch_of_before_among_newer_ones_hides_no_return(uninstalled):
    """Numbers are given in the order of storing, not of receiving."""
    store(uninstalled, batch("a", ("a:b", GONE + TICK)))
    for _ in range(99):
        store(uninstalled, batch("a", ("a:b", GONE - TICK)))
    assert shops.mark_returned(uninstalled) == [SHOP]


def test_only_the_newest_hundred_are_looked_at(uninstalled):
    writer = Writer(statement_timeout=10_000)
    writer.write(uninstalled, [batch("a", ("a:b", GONE + TICK))])
    writer.write(uninstalled, [batch("a", ("a:b", GONE - TICK)) for _ in range(100)])
    assert shops.mark_returned(uninstalled) == []
