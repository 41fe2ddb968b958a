"""One filter over everything."""

import csv
import io
import re
from dataclasses import replace
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from click.testing import CliRunner

from app.counts.period import Period, find_shop
from app.merchant import breakdown
from app.merchant.commands import numbers_of, plain_numbers, report
from app.merchant.groups import Choice, View, find_groups
from app.merchant.reports import report as read_report
from app.merchant.statistics import boundary, information
from app.merchant.uplift import Group, Uplift
from tests.calls import SECRET, SHOP
from tests.counts.histories import (
    ADDED,
    BUTTON,
    CART_ADD,
    NOON,
    PAGE,
    RESULT,
    batch,
    count_all,
    store,
    visit,
)
from tests.counts.test_titles import told
from tests.merchant.conftest import text_of
from tests.processes.running import as_url

DAY = Period(NOON.date(), NOON.date())
DAYS = {"from": str(NOON.date() - timedelta(days=1)), "to": str(NOON.date())}
GERMAN = b'{"$browser_language":"de-DE"}'
COAT = "gid://shopify/Product/4711"
DAY_AFTER = NOON.date() + timedelta(days=1)


@pytest.fixture
def visits(database):
    """One goes from phone to desktop, and looks at a coat before they add a hat; one adds the coat
    that they have tried on; a robot and nobody look at it."""
    phone = {"device_class": "mobile", "lib_version": "2.1"}
    store(
        database,
        told("Red <coat>", product=COAT),
        batch("a", (PAGE, 0), (BUTTON, 1), product_id="4711", **phone),
        batch("a", (PAGE, 5), (CART_ADD, 6), product_id="hat", device_class="desktop"),
        visit("b", 7, product_id=COAT, rest=GERMAN, **phone),
        batch("robot", (PAGE, 0), product_id=COAT, device_class="bot"),
        batch(None, (PAGE, 0), product_id=COAT, **phone),
    )
    count_all(database)
    return find_shop(database, SHOP)


def of(database, shop, by, value):
    return read_report(database, shop, DAY, "product", only=Choice(by, value))


def rows(reply):
    return list(csv.reader(io.StringIO(reply.text.removeprefix("\ufeff"))))


def test_a_visitor_did_with_a_filter_what_they_did_in_that_group(database, visits):
    everybody = read_report(database, visits, DAY, "product")
    assert everybody["only"] is None
    assert (everybody["uplift"]["others"]["added"], everybody["visitors"]["now"]) == (1, 2)
    phone = of(database, visits, "device", "mobile")
    assert [step["visitors"] for step in phone["funnel"]] == [2, 2, 1, 1, 1, 1, 1]
    assert phone["uplift"]["others"] == {"visitors": 1, "added": 0, "rate": 0}
    assert phone["uplift"]["tried"]["added_same"] == 1
    hat = of(database, visits, "product", "hat")
    assert hat["uplift"]["others"] == {"visitors": 1, "added": 1, "rate": 1}
    assert [step["median_seconds_to_next"] for step in phone["funnel"]][:2] == [60, 60]
    assert of(database, visits, "language", "de")["visitors"]["now"] == 1
    assert of(database, visits, "language", "")["visitors"]["now"] == 1


def test_with_a_filter_events_are_those_of_visitors(database, visits):
    assert read_report(database, visits, DAY, "product")["events"]["now"] == 14
    assert of(database, visits, "product", COAT)["events"] == {"now": 10, "before": 0}
    [day] = of(database, visits, "product", COAT)["days"]
    assert (day["events"], day["visitors"]) == (10, 2)


def test_the_breakdown_is_of_all_groups_whatever_is_chosen(database, visits):
    def breakdown(**filters):
        return read_report(database, visits, DAY, "device", **filters)["breakdown"]

    assert breakdown(only=Choice("device", "mobile")) == breakdown()


def test_what_nobody_ever_sent_has_no_numbers(database, visits):
    nothing = of(database, visits, "product", "none")
    assert nothing["visitors"] == nothing["events"] == {"now": 0, "before": 0}
    assert nothing["only"] == {"by": "product", "value": "none", "title": None}
    choice = Choice("product", "none")
    assert numbers_of(nothing) == plain_numbers(database, visits, DAY, choice)


def test_the_api_and_each_csv_are_of_the_group(merchant, visits):
    shown = merchant("/app/api/report", only="product:4711", **DAYS).get_json()["report"]
    assert shown["only"] == {"by": "product", "value": COAT, "title": "Red <coat>"}
    assert shown["visitors"]["now"] == 2
    for table, column, number in (("funnel", 3, "1"), ("uplift", 1, "1"), ("days", 2, "1")):
        reply = merchant("/app/api/table.csv", table=table, only="device:desktop", **DAYS)
        assert number in [row[column] for row in rows(reply)], table
        assert f"-{table}-device-desktop.csv" in reply.headers["Content-Disposition"]
    named = merchant("/app/api/table.csv", only='product:a/b "é', **DAYS)
    assert named.headers["Content-Disposition"].endswith('-funnel-product-a-b.csv"')
    everything = merchant("/app/api/table.csv", table="breakdown", only="device:tv", **DAYS)
    assert len(rows(everything)) == 3
    assert "-breakdown.csv" in everything.headers["Content-Disposition"]


@pytest.mark.parametrize(
    "only", ["", "device", "colour:red", "product:" + 201 * "x", "product:\0", ":x"]
)
def test_a_group_that_cannot_be_is_refused_in_words(merchant, visits, only):
    refused = merchant("/app/api/report", only=only)
    assert refused.status_code == 400
    [detail] = refused.get_json()["details"]
    assert detail["path"] == "only"
    assert detail["message"].startswith("must ")


def links(page):
    addresses = re.findall(r'(?:href|value)="([^"]*[?][^"]*)"', page.text)
    return [parse_qs(urlsplit(one.replace("&amp;", "&")).query) for one in addresses]


def test_the_choice_stays_in_all_links_and_one_takes_it_away(merchant, visits):
    page = merchant("/app", only="product:4711", **DAYS)
    assert "Only: Red &lt;coat&gt;" in page.text
    others = [link for link in links(page) if link.get("only") != ["product:4711"]]
    chosen = [link["only"] for link in others if "only" in link]
    assert ["product:hat"] in chosen  # from the row of another one
    assert len([link for link in others if not {"only", "format"} & set(link)]) == 1
    assert re.search(r'name="only" value="product:4711"', page.text)
    assert 'name="find"' in page.text


def test_a_group_is_found_by_a_part_of_its_title_or_value(database, merchant, visits):
    def found(text):
        return [(one["by"], one["value"]) for one in find_groups(database, visits, text)]

    assert found("RED <c") == [("product", COAT)]
    assert found("4711") == [("product", COAT)]
    assert found("mob") == [("device", "mobile")]
    assert found("%") == found("") == []
    page = merchant("/app", find="mob", **DAYS)
    [link] = [link for link in links(page) if link.get("only") == ["device:mobile"]]
    assert "find" not in link
    assert "Nothing was found" in text_of(merchant("/app", find="zzz", **DAYS))


def test_the_terminal_shows_and_checks_groups(settings, visits, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", as_url(settings.database_url))
    monkeypatch.setenv("REDIS_URL", settings.redis_url)
    monkeypatch.setenv("SHOPIFY_API_SECRET", SECRET)
    days = ("--shop", SHOP, "--from", DAYS["from"], "--to", DAYS["to"])

    def flask(*words):
        return CliRunner().invoke(report, words)

    shown = flask("funnel", *days, "--only", "product:4711")
    assert "Only product: Red <coat>" in shown.output
    assert re.search(r"Product page viewed +2 ", shown.output)
    assert flask("funnel", *days, "--only", "mobile").exit_code == 1
    checked = flask("check", *days)
    assert checked.output == "40 groups of numbers are equal.\n"


def test_what_was_counted_by_the_release_before_shows_the_funnel_of_a_group(database, visits):
    for by, value in (("device", "mobile"), ("product", COAT)):
        before = of(database, visits, by, value)
        with database.transaction(force_rollback=True):
            database.execute("UPDATE report_counts SET more = NULL, times = NULL")
            shown = of(database, visits, by, value)
        assert [step["visitors"] for step in shown["funnel"]] == [
            step["visitors"] for step in before["funnel"]
        ]
        assert shown["uplift"]["tried"]["visitors"] == shown["uplift"]["others"]["visitors"] == 0


def test_the_same_hours_of_the_period_before_are_of_the_group(database):
    yesterday = -24 * 60
    store(
        database,
        visit("morning", 1, minutes=yesterday - 60, device_class="mobile"),
        visit("evening", 3, minutes=yesterday + 60, device_class="mobile"),
        batch("both", (PAGE, yesterday - 9), (RESULT, yesterday - 5), device_class="mobile"),
        batch("both", (PAGE, yesterday + 5), (ADDED, yesterday + 6), device_class="mobile"),
        visit("morning", 2, minutes=yesterday - 30, device_class="desktop"),
    )
    count_all(database)
    shop = replace(find_shop(database, SHOP), now=NOON, today=NOON.date())
    shown = of(database, shop, "device", "mobile")
    assert shown["visitors"] == {"now": 0, "before": 2}
    assert shown["events"]["before"] == 3
    only = Choice("device", "mobile")
    assert numbers_of(shown) == plain_numbers(database, shop, DAY, only)


def shopper(number, product, *, tries, adds, minutes=0):
    at = minutes + 3 * number
    events = [(PAGE, at)] + [(RESULT, at + 1)] * tries + [(CART_ADD, at + 2)] * adds
    return batch(f"{product}-{number}-{minutes}", *events, product_id=product)


@pytest.fixture
def compared(database):
    """Products with enough, "few" without; yesterday and today, whose visitors still wait."""
    sent = [
        shopper(number, product, tries=number % 2, adds=number % 8 < adds, minutes=minutes)
        for product, adds in (("p1", 4), ("p2", 3), ("few", 1))
        for number in range(80)
        for minutes in (-24 * 60, 0)
    ]
    store(database, *sent)
    count_all(database)
    return replace(find_shop(database, SHOP), now=NOON + timedelta(hours=13), today=DAY_AFTER)


def test_groups_are_compared_where_there_is_enough_and_their_visitors_had_their_time(
    database, compared
):
    period = Period(NOON.date() - timedelta(days=3), NOON.date())
    view = View("product", show="comparison")
    shown = read_report(database, compared, period, view)["breakdown"]["comparison"]
    assert shown["of"] == 3
    assert [group["value"] for group in shown["groups"]] == ["p1", "p2"]
    over = Period(period.first, NOON.date() - timedelta(days=1))
    for group in shown["groups"]:
        plain = plain_numbers(database, compared, over, Choice("product", group["value"]))
        sides = [group[side][number] for side in ("tried", "others")
                 for number in ("visitors", "added")]  # fmt: skip
        assert sides == [plain["uplift"][place] for place in (0, 1, 3, 4)]
        alone = Uplift(Group(*sides[:2]), Group(*sides[2:]))
        low, high = alone.interval
        assert group["low"] <= low <= group["difference"] <= high <= group["high"]
    assert read_report(database, compared, period, "product")["breakdown"]["comparison"] is None


def test_groups_compared_are_on_the_page_in_the_api_and_in_a_csv(merchant, compared):
    page = merchant("/app", show="comparison", **DAYS)
    assert "on both sides: 2 of 3." in text_of(page)
    shown = merchant("/app/api/report", show="comparison", **DAYS).get_json()["report"]
    groups = shown["breakdown"]["comparison"]["groups"]
    head, *lines = rows(merchant("/app/api/table.csv", table="comparison", **DAYS))
    assert head[:3] == ["product", "visitors_tried", "added_tried"]
    assert [line[0] for line in lines] == [group["value"] for group in groups] == ["p1", "p2"]
    assert merchant("/app/api/report", show="all").status_code == 400


def test_groups_compared_come_some_to_a_page_and_all_of_them_in_the_csv(
    merchant,
    compared,
    monkeypatch,
):
    monkeypatch.setattr(breakdown, "AT_ONCE", 1)
    first, second = (
        merchant("/app/api/report", show="comparison", page=page, **DAYS).get_json()
        for page in ("1", "9")
    )
    first, second = (shown["report"]["breakdown"] for shown in (first, second))
    assert [(one["page"], one["pages"]) for one in (first, second)] == [(1, 2), (2, 2)]
    values = [one["comparison"]["groups"][0]["value"] for one in (first, second)]
    assert values == ["p1", "p2"]
    page = merchant("/app", show="comparison", **DAYS)
    assert "on both sides: 2 of 3." in text_of(page)
    assert "Page 1 of 2" in text_of(page)
    _, *lines = rows(merchant("/app/api/table.csv", table="comparison", **DAYS))
    assert [line[0] for line in lines] == values


def test_among_many_each_interval_has_its_part_of_the_mistakes():
    def width(among):
        low, high = Uplift(Group(900, 90), Group(1800, 180), among).interval
        return high - low

    adds = information(Group(900, 90), Group(1800, 180))
    assert width(20) / width(1) == pytest.approx(boundary(adds, 0.05 / 20) / boundary(adds, 0.05))
    assert width(20) > 1.2 * width(1)
