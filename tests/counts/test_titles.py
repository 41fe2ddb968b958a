"""What products are called, as the events of their pages say it."""

import itertools
from datetime import UTC, datetime, timedelta

import orjson
import pytest

from app.batch.batch import Batch, Context, Event
from app.counts import titles
from app.counts.period import find_shop
from app.counts.rollups import count_new, forget_deleted, rebuild
from app.privacy.erasure import erase_shop
from tests.calls import SHOP
from tests.counts.histories import NOON, PAGE, count_all, store

_ids = itertools.count()
COAT = "gid://shopify/Product/1"
OTHER = "gid://shopify/Product/2"


def told(title, minutes=0, *, name=PAGE, product=COAT, **columns):
    at = NOON + timedelta(minutes=minutes)
    properties = {"product_title": title} | columns.pop("properties", {})
    return Batch.build(
        shop=SHOP,
        customer_id=None,
        received_at=at,
        context=Context({"client_id": "a", "product_id": product, **columns}, b"{}"),
        events=[Event(name, f"title-{next(_ids)}", at, orjson.dumps(properties), b"{}")],
        rejected=[],
    )


def known(database):
    count_all(database)
    return titles.of_products(database, find_shop(database, SHOP).id, [COAT, OTHER])


def test_the_newest_title_is_the_products_in_whichever_order_they_come(database):
    store(database, told("Coat", 1), told("Wool coat", 3))
    store(database, told("Old coat", 2), told("Shirt", 1, product="2"))
    assert known(database) == {COAT: "Wool coat", OTHER: "Shirt"}
    store(database, told("Woollen coat", 4))
    assert known(database)[COAT] == "Woollen coat"
    store(database, told("Coat again", -9))
    assert known(database)[COAT] == "Woollen coat"


@pytest.mark.parametrize(
    ("sent", "shown"),
    [("  Coat\n of  wool ", "Coat of wool"), ("x" * 900, "x" * 200), ("<b>\\\t\"'", "<b>\\ \"'")],
)
def test_a_title_is_one_line_and_not_long(database, sent, shown):
    store(database, told(sent, name="widget:button_click"))
    assert known(database) == {COAT: shown}


@pytest.mark.parametrize("sent", ["", " ", None, 5, ["Coat"], {"product_title": "Coat"}])
def test_what_is_no_title_names_nothing(database, sent):
    store(database, told(sent))
    assert known(database) == {}


def test_nobodys_events_and_those_without_a_product_name_nothing(database):
    store(
        database,
        told("Robot's", device_class="bot"),
        told("Editor's", properties={"designMode": True}),
        told("Nothing's", product=None),
    )
    assert known(database) == {}


def test_the_events_own_product_is_named_where_the_page_names_none(database):
    store(database, told("Coat", product=None, properties={"product_id": 1}))
    assert known(database) == {COAT: "Coat"}


def test_a_known_title_is_written_once_a_day(database):
    store(database, told("Coat"))
    known(database)
    row = "SELECT ctid::text, seen_at FROM report_titles"
    before = database.execute(row).fetchone()
    store(database, told("Coat", 60))
    known(database)
    assert database.execute(row).fetchone() == before
    store(database, told("Coat", 2_000))
    known(database)
    assert database.execute(row).fetchone()[1] == NOON + timedelta(minutes=2_000)


def test_a_rebuild_keeps_titles(database):
    store(database, told("Coat"))
    known(database)
    rebuild(database, find_shop(database, SHOP).id)
    assert known(database) == {COAT: "Coat"}


def test_titles_go_with_the_shop_and_with_the_days_that_are_shown(database):
    store(database, told("Coat"))
    assert known(database)
    forget_deleted(database, NOON + timedelta(days=700))
    assert known(database)
    forget_deleted(database, NOON + timedelta(days=801))
    assert known(database) == {}
    store(database, told("Coat", 9_000_000))
    assert known(database)
    shop = find_shop(database, SHOP)
    erase_shop(database, SHOP, shop.id, datetime.now(UTC) + timedelta(days=9_999), lambda *_: None)
    assert database.execute("SELECT count(*) FROM report_titles").fetchone() == (0,)


def test_the_release_before_announces_none_and_is_counted(database):
    store(database, told("Coat"))
    database.execute("UPDATE report_news SET titles = NULL")
    assert count_new(database)
    assert known(database) == {}
