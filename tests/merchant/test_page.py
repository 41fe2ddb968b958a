import csv
import gzip
import html
import io
import json
import re
import threading
from datetime import UTC, datetime, timedelta

import pytest

from app import tracker
from app.counts.period import LONGEST
from app.merchant import preferences
from tests.calls import CONTEXT, SHOP, body, event, odd_event, query
from tests.counts.histories import FUNNEL, batch, count_all, midnight, store, today
from tests.merchant.conftest import KEY, OTHER, save, text_of, token


@pytest.fixture
def history(database):
    """Today: one who added to the cart after a result, one who looked; and one in another shop."""
    begun = max(midnight(), datetime.now(UTC) - timedelta(minutes=20))
    moments = [(name, begun + timedelta(seconds=90 * n)) for n, name in enumerate(FUNNEL)]
    store(
        database,
        batch("a", *moments, product_id="=p"),
        batch("b", moments[0], product_id="q"),
        batch("c", moments[0], shop=OTHER),
    )
    count_all(database)


def rows(reply):
    return list(csv.reader(io.StringIO(reply.text)))


def test_page_api_and_csv_have_the_same_numbers(merchant, history):
    shown = merchant("/app/api/report", range="7").get_json()["report"]
    assert [step["visitors"] for step in shown["funnel"]] == [2, 1, 1, 1, 1, 1, 1]
    assert shown["funnel"][0]["median_seconds_to_next"] == 90
    table = rows(merchant("/app/api/table.csv", range="7", table="funnel"))
    assert [row[3] for row in table] == ["visitors", "2", "1", "1", "1", "1", "1", "1"]
    page = merchant("/app", range="7").text
    cells = re.findall(r'data-name="Visitors">(\d+)<', page)
    assert cells == ["2", "1", "1", "1", "1", "1", "1"]
    assert "1 min 30 sec" in page


@pytest.mark.parametrize("table", ["times", "uplift", "side_steps", "days", "hours", "breakdown"])
def test_each_table_has_a_csv(merchant, history, table):
    head, *lines = rows(merchant("/app/api/table.csv", table=table, range="today"))
    assert lines
    assert {len(line) for line in lines} == {len(head)}


def test_page_api_csv_and_words_have_the_same_times(merchant, history):
    times = merchant("/app/api/report", range="7").get_json()["report"]["times"]
    assert [time["median_seconds"] for time in times] == [540, 270]
    head, *lines = rows(merchant("/app/api/table.csv", range="7", table="times"))
    assert head[2:] == ["from_seconds", "to_seconds", "visitors", "share", "median_seconds"]
    assert [line[0] for line in lines] == ["page_to_cart"] * 9 + ["click_to_result"] * 9
    found = [[int(line[4]) for line in lines[start : start + 9]] for start in (0, 9)]
    assert found == [[one["visitors"] for one in time["classes"]] for time in times]
    assert [line[2:4] for line in lines if line[4] == "1"] == [["300", "900"], ["120", "300"]]
    page = merchant("/app", range="7").text
    assert "The median of 1 visitor is 9 min; 0.0% took less than 5 min." in page
    assert "2 min to 5 min: 1 visitor (100.0%)" in page
    german = merchant("/app", range="7", locale="de").text
    assert "2 Min. bis 5 Min.: 1 Besucher (100,0\xa0%)" in german


def test_a_download_is_named_after_the_shop_the_day_and_what_is_in_it(merchant, history):
    for path, name in (("table.csv", "funnel.csv"), ("events", "events.csv")):
        reply = merchant(f"/app/api/{path}", range="7")
        expected = f'attachment; filename="a-shop-{today()}-{name}"'
        assert reply.headers["Content-Disposition"] == expected


def test_a_spreadsheet_does_not_run_what_a_shopper_sent(merchant, history):
    table = rows(merchant("/app/api/table.csv", table="breakdown"))
    assert {"'=p", "q"} <= {row[0] for row in table}


def test_raw_events_are_those_of_the_shop_and_the_days(merchant, history):
    head, *lines = rows(merchant("/app/api/events", range="7"))
    assert len(lines) == 8
    assert {line[head.index("client_id")] for line in lines} == {"a", "b"}
    ndjson = merchant("/app/api/events", range="7", format="ndjson").text.splitlines()
    assert [json.loads(line)["event"] for line in ndjson if json.loads(line)["client_id"] == "a"] \
        == list(FUNNEL)  # fmt: skip
    past = {"from": "2020-01-01", "to": "2020-01-31"}
    assert len(rows(merchant("/app/api/events", **past))) == 1


def test_odd_numbers_and_depths_are_exported_as_they_are(merchant):
    merchant.caller.post(body(odd_event()))
    merchant.caller.rows()
    days = {"from": "2024-01-15", "to": "2024-01-15"}
    [line] = merchant("/app/api/events", format="ndjson", **days).text.splitlines()
    assert json.loads(line)["properties"] == {"n": 1e30, "m": 2.0**64}
    assert line.count('{"a":') == 600
    head, row = rows(merchant("/app/api/events", **days))
    assert json.loads(row[head.index("properties")])["n"] == 1e30


def test_an_empty_product_id_does_not_hide_that_of_the_event(merchant, database):
    merchant.caller.post(body(event(), context={"$session_id": "s", "genlook_product_id": ""}))
    merchant.caller.rows()
    count_all(database)
    days = {"from": "2024-01-15", "to": "2024-01-15"}
    shown = merchant("/app/api/report", **days).get_json()["report"]["breakdown"]
    assert [group["value"] for group in shown["groups"]] == ["gid://shopify/Product/456"]


def unfinished_export(merchant):
    """By Flask's own client, which reads on only when it is told to."""
    client = merchant.client.application.test_client()
    return client.get(
        "/app/api/events", headers={"Authorization": f"Bearer {token()}"}, buffered=False
    )


@pytest.mark.slow
def test_a_second_export_at_once_has_to_wait(merchant, history):
    first = unfinished_export(merchant)
    refused = merchant("/app/api/events")
    assert (refused.status_code, refused.get_json()["code"]) == (503, "BUSY")
    assert refused.headers["Retry-After"] == "60"
    first.close()
    assert merchant("/app/api/events").status_code == 200


def test_one_export_after_the_other_is_served(merchant, history):
    first = unfinished_export(merchant)
    ending = threading.Timer(0.3, first.close)  # its last byte has come, its end has not
    ending.start()
    assert merchant("/app/api/events").status_code == 200
    ending.join()


def test_a_shop_sees_only_itself(merchant, history):
    shown = merchant("/app/api/report", token(OTHER), shop=SHOP).get_json()["report"]
    assert shown["shop"] == OTHER
    assert shown["visitors"]["now"] == 1


def test_a_shop_that_never_sent_anything_is_told_how_to(merchant):
    page = merchant("/app")
    assert page.status_code == 200
    assert "Nothing has arrived yet" in page.text
    assert f"https://{SHOP}/apps/proxy_genlook-x/public/tracking/events" in page.text


def test_its_sample_is_of_now_wherever_the_merchant_is(merchant, database):
    database.execute("INSERT INTO shops (domain) VALUES (%s)", [SHOP])
    save(merchant, time_zone="Pacific/Auckland", window_hours=24)
    sample = re.search(r'"timestamp":"(.*?)"', html.unescape(merchant("/app").text))[1]
    assert abs(datetime.fromisoformat(sample) - datetime.now(UTC)) < timedelta(minutes=1)


def test_words_fit_the_numbers(merchant, history):
    save(merchant, time_zone="UTC", window_hours=1)
    page = merchant("/app").text
    assert "within 1 hour of" in page
    assert "none in the same hours of the period before" in page
    assert "width:0.00%" not in page


def test_a_colleague_finds_the_same_days_and_groups_in_the_admin(merchant, history):
    page = merchant("/app", range="7", by="device", sort="rate", locale="de", session="secret")
    link = html.unescape(re.search(r'class="link" readonly value="([^"]*)"', page.text)[1])
    first = today() - timedelta(days=6)
    assert link == (
        f"https://admin.shopify.com/store/a-shop/apps/{KEY}/app"
        f"?from={first}&to={today()}&by=device&sort=rate&page=1"
    )
    query = dict(pair.split("=") for pair in link.partition("?")[2].split("&"))
    shown = merchant("/app/api/report", **query).get_json()["report"]
    assert shown["period"] == {"first": str(first), "last": str(today())}
    assert shown["breakdown"]["by"] == "device"


def test_the_page_says_who_still_waits_and_what_it_compares_with(merchant, history):
    text = text_of(merchant("/app", range="7"))
    assert "2 visitors are still within their 24 hours, and in none of these rates." in text
    assert "none in the same hours of the period before" in text
    assert "Period before, same hours" in text
    yesterday = midnight(1).date().isoformat()
    past = text_of(merchant("/app", **{"from": yesterday, "to": yesterday}))
    assert "same hours" not in past.partition("How it is counted")[0]
    assert "still within" not in past


def test_no_card_shows_two_rates_without_what_they_do_not_prove(merchant, history):
    page = merchant("/app").text
    caveat = merchant("/app/api/report").get_json()["report"]["uplift"]["caveat"]
    for card in re.findall(r'<(?:section|div) class="card.*?</(?:section|div)>', page, re.DOTALL):
        shows_both = "saw a product page but no result" in card or "who saw no result" in card
        assert (caveat in card) is shows_both


def test_one_word_is_one_number(merchant, history):
    text = text_of(merchant("/app", range="7"))
    assert "Added in the widget" in text
    assert "Everyone who saw a result, however they came to it, is under “Saw a result”: 1." in text


def test_the_page_says_before_what_saving_cannot_recalculate(merchant, history, database):
    assert "have been deleted" not in merchant("/app").text
    [shop_id] = database.execute("SELECT id FROM shops WHERE domain = %s", [SHOP]).fetchone()
    database.execute("INSERT INTO report_kept VALUES (%s, 20000)", [shop_id])
    text = text_of(merchant("/app"))
    assert "Events of before Oct 4, 2024 have been deleted" in text
    assert merchant("/app/api/report").get_json()["report"]["kept_before"] == "2024-10-04"


def test_what_was_rejected_is_shown_with_its_reason_and_the_shops_time(merchant):
    merchant.caller.post(body(event(timestamp="yesterday <b>"), context=CONTEXT))
    save(merchant, time_zone="Asia/Kathmandu", window_hours=24)
    page = merchant("/app").text
    assert re.search(r'<time datetime="[^"]+\+05:45">', page)
    assert "VALIDATION_FAILED" in page
    assert "must be an ISO 8601 date and time" in page
    assert "<b>" not in page


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"range": "5"}, "range"),
        ({"from": "2026-02-30"}, "from"),
        ({"from": "2026-03-02", "to": "2026-03-01"}, "to"),
        ({"from": str(today() - timedelta(days=LONGEST + 1))}, "from"),
        ({"from": str(today() + timedelta(days=3))}, "from"),
        ({"from": str(today()), "to": ""}, "to"),
        ({"from": "", "range": "7"}, "from"),
        ({"from": "2020-01-01", "to": "2026-01-01"}, "to"),
        ({"to": "2026-03-01"}, "from"),
        ({"from": "0001-01-01", "to": "0001-01-02"}, "from"),
        ({"from": "2026-W10-1"}, "from"),
        ({"from": "20260301"}, "from"),
        ({"by": "colour"}, "by"),
    ],
)
def test_a_wrong_question_is_told_what_is_wrong(merchant, wrong, name):
    reply = merchant("/app/api/report", **wrong)
    assert reply.status_code == 400
    assert reply.get_json()["details"][0]["path"] == name


@pytest.mark.parametrize(("path", "name"), [("table.csv", "table"), ("events", "format")])
def test_an_unknown_table_or_format_is_told_the_known_ones(merchant, path, name):
    reply = merchant(f"/app/api/{path}", **{name: "xml"})
    assert reply.status_code == 400
    assert reply.get_json()["details"][0]["path"] == name


def test_merchants_choose_their_time_zone_and_window(merchant, history, database):
    assert save(merchant, time_zone="Pacific/Auckland", window_hours=1).status_code == 200
    assert merchant("/app/api/report").get_json()["freshness"]["is_recounting"]
    count_all(database)
    shown = merchant("/app/api/report").get_json()
    assert not shown["freshness"]["is_recounting"]
    assert shown["report"]["time_zone"] == "Pacific/Auckland"
    assert sum(day["events"] for day in shown["report"]["days"]) == 8


@pytest.mark.parametrize(
    "wrong",
    [{"time_zone": "Mars/Olympus", "window_hours": 24},
     {"time_zone": "localtime", "window_hours": 24}, {"time_zone": "CET", "window_hours": 24},
     {"time_zone": "UTC", "window_hours": 5},
     {"time_zone": ["UTC"], "window_hours": 24}, {}, []],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused(merchant, wrong):
    reply = merchant.client.put(
        "/app/api/settings", json=wrong, headers={"Authorization": f"Bearer {token()}"}
    )
    assert reply.status_code == 400


def test_every_window_on_offer_can_be_chosen(merchant):
    for hours in preferences.WINDOWS:
        assert save(merchant, time_zone="UTC", window_hours=hours).status_code == 200


def test_the_tracker_is_served_to_signed_requests_and_may_be_kept(merchant):
    path = "/apps/proxy_genlook-x/public/tracker.js"
    reply = merchant.client.get(path, query_string=query())
    assert reply.data == tracker.SCRIPT
    assert reply.headers["Cache-Control"] == "public, max-age=3600"
    again = merchant.client.get(
        path, query_string=query(), headers={"If-None-Match": reply.headers["ETag"]}
    )
    assert again.status_code == 304
    packed = merchant.client.get(
        path, query_string=query(), headers={"Accept-Encoding": "br, gzip"}
    )
    assert gzip.decompress(packed.data) == tracker.SCRIPT
    assert len(packed.data) < 4_000
    assert packed.headers["Vary"] == "Accept-Encoding"
    refused = merchant.client.get(path, query_string=query(secret="wrong"))
    assert refused.status_code == 401
    assert refused.headers["Cache-Control"] == "private, no-store"
