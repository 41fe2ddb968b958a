"""What nobody who shops did counts as events only."""

from datetime import timedelta

import pytest

from app.counts.period import Period, find_shop
from app.counts.rollups import mark_dirty, rebuild
from app.merchant.commands import numbers_of, plain_numbers
from app.merchant.reports import report
from tests.calls import SHOP
from tests.cases import CASES
from tests.counts.histories import (
    ADDED,
    CART_ADD,
    NOON,
    PAGE,
    RESULT,
    batch,
    count_all,
    store,
    visit,
)

DAY = Period(NOON.date(), NOON.date())
BOT = {"device_class": "bot"}


@pytest.fixture
def counted(database):
    """A report that the plain count and a rebuild agree with."""

    def counted(*batches, by="product"):
        store(database, *batches)
        count_all(database)
        shop = find_shop(database, SHOP)
        shown = report(database, shop, DAY, by)
        assert numbers_of(shown) == plain_numbers(database, shop, DAY)
        rebuild(database, shop.id)
        assert report(database, shop, DAY, by) == shown
        return shown

    return counted


def rest_with(field):
    return f'{{"a":"b",{field}}}'.encode()


NOBODYS = {
    "a robot": BOT,
    "the theme editor": {"rest": rest_with('"designMode":true')},
    "a driven browser": {"rest": rest_with('"webdriver":true')},
    "a page without the widget": {"rest": rest_with('"genlook_widget_enabled":false')},
    "no id": {"visitor": "undefined", "session_id": '"null"'},
}


@pytest.mark.parametrize("sent", NOBODYS.values(), ids=NOBODYS)
def test_it_is_in_the_number_of_events_and_in_no_other(counted, sent):
    shown = counted(visit("a", 7), visit(**{"visitor": "b", "steps": 7, "minutes": 20} | sent))
    assert shown["events"]["now"] == 14
    assert shown["visitors"]["now"] == 1
    assert [step["visitors"] for step in shown["funnel"]] == [1] * 7
    assert shown["saw_result"]["now"] == 1
    assert (shown["uplift"]["tried"]["visitors"], shown["uplift"]["others"]["visitors"]) == (1, 0)
    assert [day["visitors"] for day in shown["days"]] == [1]
    assert [group["visitors"] for group in shown["breakdown"]["groups"]] == [1]


@pytest.mark.parametrize(
    "field",
    ['"designMode":false', '"designMode":"true"', '"x":{"designMode":true}',
     '"genlook_widget_enabled":true', '"x":{"genlook_widget_enabled":false}', '"webdriver":null'],
)  # fmt: skip
def test_only_a_field_of_its_own_that_says_so_counts(counted, field):
    assert counted(visit("a", 7, rest=rest_with(field)))["visitors"]["now"] == 1


def test_robots_change_no_verdict(counted):
    case = CASES["robots_and_the_verdict"]
    people = case["people"]
    tried, others = people["saw_a_result"], people["saw_only_the_page"]
    batches = [
        batch(f"t{n}", (PAGE, 0), (RESULT, 1), *[(ADDED, 2)] * (n < people["of_whom_added"]))
        for n in range(tried)
    ] + [
        batch(f"o{n}", (PAGE, 0), *[(CART_ADD, 1)] * (n < people["of_whom_also_added"]))
        for n in range(others)
    ]
    before = counted(*batches)
    after = counted(*(batch(f"robot{n}", (PAGE, n % 60), **BOT) for n in range(150)))
    assert after["uplift"] == before["uplift"]
    assert after["visitors"]["now"] == case["right"]["visitors"]
    assert after["events"]["now"] - before["events"]["now"] == case["right"]["events_more"]


def test_a_visitor_whose_robot_is_erased_with_them_leaves_no_event_behind(database, counted):
    counted(visit("a", 3), visit("a", 2, minutes=9, **BOT), visit("b", 1))
    database.execute("DELETE FROM events USING batches b WHERE b.id = batch_id AND client_id = 'a'")
    mark_dirty(database, find_shop(database, SHOP).id, ["a"])
    shown = counted(visit("c", 1))
    assert (shown["events"]["now"], shown["visitors"]["now"]) == (2, 2)


def test_products_and_languages_are_told_apart_by_what_they_are(counted):
    batches = [
        visit(f"p{n}", 1, product_id=str(sent)) for n, sent in enumerate(CASES["the_same_product"])
    ]
    [group] = counted(*batches)["breakdown"]["groups"]
    assert (group["value"], group["visitors"]) == ("gid://shopify/Product/456", 3)


@pytest.mark.parametrize("case", CASES["languages"], ids=lambda case: case["sent"])
def test_a_language_is_counted_under_its_first_part(counted, case):
    sent = rest_with(f'"$browser_language":"{case["sent"]}"')
    shown = counted(visit("a", 1, rest=sent), by="language")
    assert [group["value"] for group in shown["breakdown"]["groups"]] == [case["group"]]


def test_few_adds_are_too_few_for_a_comparison(counted):
    case = CASES["few_adds"]
    shown = counted(
        *(
            batch(f"t{n}", (PAGE, 0), (RESULT, 1), *[(ADDED, 2)] * (n < case["of_whom_added"]))
            for n in range(case["saw_a_result"])
        ),
        *(batch(f"o{n}", (PAGE, 0)) for n in range(case["others"])),
    )
    assert "Too few" in shown["uplift"]["words"]
    assert shown["uplift"]["low"] is None


TOMORROW = 24 * 60
COMPARED = {
    "tried, then added": ([(PAGE, 0), (RESULT, 1), (ADDED, 2)], "tried added same"),
    "tried, then added on the page": ([(PAGE, 0), (RESULT, 1), (CART_ADD, 2)], "tried added same"),
    "tried": ([(PAGE, 0), (RESULT, 1)], "tried"),
    "added, then tried": ([(PAGE, 0), (CART_ADD, 1), (RESULT, 2)], "others added"),
    "added, tried and added": (
        [(PAGE, 0), (CART_ADD, 1), (RESULT, 2), (ADDED, 3)], "others added"
    ),
    "looked": ([(PAGE, 0)], "others"),
    "added before they saw anything": ([(CART_ADD, 0), (PAGE, 1)], ""),
    "added before they tried": ([(CART_ADD, 0), (RESULT, 1)], ""),
    "added": ([(CART_ADD, 0)], ""),
    "added too late": ([(PAGE, 0), (CART_ADD, TOMORROW + 1)], "others"),
    "looked at night, tried and added in the morning": (
        [(PAGE, 719), (RESULT, 721), (ADDED, 722)], "others"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("events", "groups"), COMPARED.values(), ids=COMPARED)
def test_the_comparison_takes_what_was_seen_before_the_add(counted, events, groups):
    uplift = counted(batch("a", *events))["uplift"]
    tried, others = uplift["tried"], uplift["others"]
    found = {
        "tried": tried["visitors"],
        "others": others["visitors"],
        "added": tried["added"] + others["added"],
        "same": tried["added_same"],
    }
    assert [group for group, number in found.items() if number] == [
        group for group in found if group in groups.split()
    ]


def test_who_tried_one_product_and_added_another_is_told_apart(counted):
    def looked_at(visitor, tried, added):
        return (
            batch(visitor, (PAGE, 0), (RESULT, 1), product_id=tried),
            batch(visitor, (PAGE, 2), (CART_ADD, 3), product_id=added),
        )

    tried = counted(*looked_at("same", "A", "A"), *looked_at("other", "A", "B"))["uplift"]["tried"]
    assert (tried["visitors"], tried["added"], tried["added_same"]) == (2, 2, 1)


def test_in_a_longer_range_the_first_that_decides_counts(database):
    days = 24 * 60
    store(
        database,
        batch("added, days later tried", (PAGE, 0), (CART_ADD, 1)),
        batch("added, days later tried", (PAGE, 3 * days), (RESULT, 3 * days + 1)),
        batch("looked, days later tried", (PAGE, 0)),
        batch("looked, days later tried", (RESULT, 3 * days), (ADDED, 3 * days + 1)),
        batch("tried twice", (RESULT, 0)),
        batch("tried twice", (RESULT, 3 * days), (ADDED, 3 * days + 1)),
    )
    count_all(database)
    shop = find_shop(database, SHOP)

    def groups(first, last):
        period = Period(NOON.date() + timedelta(days=first), NOON.date() + timedelta(days=last))
        shown = report(database, shop, period, "product")
        assert numbers_of(shown) == plain_numbers(database, shop, period)
        tried, others = shown["uplift"]["tried"], shown["uplift"]["others"]
        return tried["visitors"], tried["added"], others["visitors"], others["added"]

    assert groups(0, 3) == (2, 2, 1, 1)
    assert groups(0, 0) == (1, 0, 2, 1)
    assert groups(3, 3) == (3, 2, 0, 0)
