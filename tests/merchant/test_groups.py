"""Visitors by product: sorted, some at a time, with titles and a rate."""

import csv
import io
import re
from datetime import timedelta

import pytest

from app.counts.period import Period, find_shop
from app.counts.plain import Plain
from app.merchant.groups import View
from app.merchant.reports import report
from tests.calls import SHOP
from tests.counts.histories import NOON, count_all, midnight, store, visit
from tests.counts.test_titles import told
from tests.merchant.conftest import text_of

DAY = Period(NOON.date(), NOON.date())
DAYS = {"from": str(NOON.date()), "to": str(NOON.date())}


@pytest.fixture
def products(database):
    """Of 25: product n has n visitors, of whom n // 5 added; "p3" is the best of them, with 2."""
    visits = []
    for number in range(1, 26):
        added = 2 if number == 3 else number // 5
        visits += [visit(f"v{number}-{one}", 7 if one < added else 1, product_id=f"p{number}")
                   for one in range(number)]  # fmt: skip
    store(database, *visits, told("Aardvark <b>", product="p20"))
    count_all(database)
    return find_shop(database, SHOP)


def shown(database, shop, **view):
    return report(database, shop, DAY, View(**view))["breakdown"]


def values(breakdown):
    return [group["value"] for group in breakdown["groups"]]


def test_groups_come_in_the_order_that_was_asked_for(database, products):
    def first(sort):
        return values(shown(database, products, sort=sort))[:3]

    assert first("visitors") == ["p25", "p24", "p23"]
    assert first("added") == ["p25", "p24", "p23"]
    assert first("rate") == ["p3", "p25", "p15"]
    assert first("name") == ["p20", "p1", "p10"]  # one has a title


def test_all_groups_are_reached_by_paging_and_the_rest_adds_up(database, products):
    pages = [shown(database, products, page=page) for page in (1, 2, 3)]
    assert [len(page["groups"]) for page in pages] == [10, 10, 5]
    assert len({value for page in pages for value in values(page)}) == 25
    for page in pages:
        listed = sum(group["visitors"] for group in page["groups"])
        assert listed + page["folded"]["visitors"] == sum(range(1, 26)) + 1
        assert len(page["groups"]) + page["folded"]["groups"] == 25
    beyond = shown(database, products, page=9_999)
    assert (beyond["page"], values(beyond)) == (3, values(pages[2]))
    everything = shown(database, products, page=None)
    assert (len(everything["groups"]), everything["folded"]) == (25, None)


def test_a_groups_rate_is_that_of_a_plain_count(database, products):
    for group in shown(database, products)["groups"]:
        steps = Plain(
            database, shop=SHOP, time_zone="UTC", window_hours=24, first=DAY.first, last=DAY.last,
            where=f"product = '{group['value']}'",
        ).funnel()  # fmt: skip
        assert group["rate"] == steps[-1][0] / steps[0][0]


def test_days_on_which_somebody_still_has_time_are_in_no_rate(database):
    for days, steps in ((0, 7), (1, 7), (2, 1)):
        at = (midnight(days) - NOON).total_seconds() / 60
        store(database, visit(f"v{days}", steps, minutes=at, product_id="p"))
    count_all(database)
    shop = find_shop(database, SHOP)
    period = Period(shop.today - timedelta(days=9), shop.today)
    [group] = report(database, shop, period, "product")["breakdown"]["groups"]
    assert (group["visitors"], group["steps"][0]) == (3, 3)
    assert group["over"] == [1, 0, 0, 0, 0, 0, 0]
    assert group["rate"] == 0


def test_the_page_has_titles_rates_and_ways_to_sort_and_go_on(merchant, products):
    page = merchant("/app", **DAYS, sort="rate", locale="de")
    assert "Seite 1 von 3" in page.text
    assert re.search(r'aria-sort="descending"><a[^>]*>Quote zum Warenkorb<', page.text)
    assert "p3" in page.text
    assert "66,7" in text_of(page)
    link = re.search(r'rel="next" href="([^"]*)"', page.text)[1]
    assert {"sort=rate", "page=2", "locale=de"} <= set(link.partition("?")[2].split("&amp;"))
    titled = merchant("/app", **DAYS).text
    assert "Aardvark &lt;b&gt;" in titled
    other = re.search(r'href="([^"]*by=device[^"]*)"', merchant("/app", page=2, **DAYS).text)[1]
    assert "page=" not in other


def test_the_csv_has_all_groups(merchant, products):
    reply = merchant("/app/api/table.csv", table="breakdown", page="2", **DAYS)
    head, *lines = csv.reader(io.StringIO(reply.text.removeprefix("\ufeff")))
    assert head[-2:] == ["rate", "title"]
    assert len(lines) == 25
    assert {line[0]: line[-1] for line in lines}["p20"] == "Aardvark <b>"


def test_what_an_older_release_has_of_all_products_together_counts_no_second_time(
    database, products
):
    for show in ("funnel", "comparison"):
        before = shown(database, products, show=show)
        with database.transaction(force_rollback=True):
            database.execute(
                "INSERT INTO report_counts (shop_id, dimension, day, part, cells)"
                " SELECT shop_id, dimension, day, 0, string_agg(cells, '') FROM report_counts"
                " WHERE dimension = 1 GROUP BY shop_id, dimension, day"
            )
            assert shown(database, products, show=show) == before
