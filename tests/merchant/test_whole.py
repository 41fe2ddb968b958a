"""A report and its lines in a terminal, whole: of so few visitors that each number
can be counted by hand."""

from datetime import date

import pytest
from click.testing import CliRunner

from app.counts.period import Period, find_shop
from app.counts.times import CLASSES
from app.merchant import commands
from app.merchant.groups import Choice
from app.merchant.reports import report
from tests.calls import SECRET, SHOP
from tests.counts.histories import CART_ADD, FUNNEL, PAGE, batch, count_all, store, visit
from tests.processes.running import as_url

FIRST, SECOND = date(2026, 3, 10), date(2026, 3, 11)
DAY = 24 * 60
GERMAN = b'{"$browser_language":"de"}'
OTHERS = ("widget:share_clicked", "widget:download_clicked", "widget:email_collected")
NAMES = (
    "Product page viewed",
    "Button clicked",
    "Photo uploaded",
    "Generation started",
    "Result viewed",
    "Add clicked in the widget",
    "Added in the widget",
)


@pytest.fixture
def eight(database):
    """Ann comes on two days, Ben gets as far as the result, Cy adds without trying on, on both; Dan
    does the rest, Eve and Flo came before, Gus was not at the product page, Rob is a robot."""
    phone = {"device_class": "mobile", "product_id": "p2", "lib_version": "2.1", "rest": GERMAN}
    store(
        database,
        visit("ann", 7, **phone),
        visit("ann", 1, minutes=DAY, **phone | {"product_id": "p1"}),
        visit("ben", 5, product_id="p2", lib_version="2.2"),
        batch("cy", (PAGE, 0), (CART_ADD, 3), product_id="p3"),
        batch("cy", (PAGE, DAY), (CART_ADD, DAY + 30), product_id="p3"),
        batch("dan", (PAGE, DAY), *((name, DAY + 3) for name in OTHERS)),
        visit("eve", 3, minutes=-DAY),
        visit("flo", 6, minutes=-2 * DAY, device_class="mobile", product_id="p2"),
        batch("gus", ("a:b", DAY)),
        batch("rob", (PAGE, 5), device_class="bot"),
    )
    count_all(database)
    return find_shop(database, SHOP)


def steps(*rows):
    """Of visitors, over, before, of the first, of the previous, dropped and median."""
    fields = (
        "visitors", "over", "before", "of_first", "of_previous", "dropped",
        "median_seconds_to_next",
    )  # fmt: skip
    return [
        {"step": number, "event": event, "name": name, **dict(zip(fields, row, strict=True))}
        for number, (event, name, row) in enumerate(zip(FUNNEL, NAMES, rows, strict=True), 1)
    ]


def span(name, of, to, visitors, median, within, class_):
    words = {"page_to_cart": "From product page to added in the widget",
             "click_to_result": "From button to result"}  # fmt: skip
    return {
        "span": name, "name": words[name], "from": of, "to": to, "visitors": visitors,
        "median_seconds": median, "within_5_minutes": within,
        "classes": [
            {"from_seconds": begin, "to_seconds": end, "visitors": visitors * (number == class_),
             "share": float(number == class_)}
            for number, (begin, end) in enumerate(zip((0, *CLASSES), (*CLASSES, None), strict=True))
        ],
    }  # fmt: skip


def day(day, events, visitors, rate, before=None):
    shown = {"day": day, "events": events, "visitors": visitors, "rate": rate}
    return {**shown, "before": before} if before else shown


def group(value, visitors, steps, rate):
    return {"value": value, "title": None, "visitors": visitors, "steps": steps, "over": steps,
            "rate": rate}  # fmt: skip


TOO_FEW = (
    "Too few adds to compare yet. Each group needs at least 10 visitors who added, and 10 who did"
    " not."
)
CAVEAT = (
    "An observation, not proof: people who try something on may have been closer to buying anyway."
)


def test_of_two_days_each_number_is_right(database, eight):
    assert report(database, eight, Period(FIRST, SECOND), "device") == {
        "shop": SHOP,
        "time_zone": "UTC",
        "window_hours": 24,
        "kept_before": None,
        "only": None,
        "period": {"first": "2026-03-10", "last": "2026-03-11"},
        "before": {"first": "2026-03-08", "last": "2026-03-09", "until": None},
        "visitors": {"now": 5, "before": 2},
        "events": {"now": 23, "before": 9},
        "saw_result": {"now": 2, "before": 1},
        "waiting": 0,
        "funnel": steps(
            (4, 4, 2, 1.0, None, 2, 60),
            (2, 2, 2, 0.5, 0.5, 0, 60),
            (2, 2, 2, 0.5, 1.0, 0, 60),
            (2, 2, 1, 0.5, 1.0, 0, 60),
            (2, 2, 1, 0.5, 1.0, 1, 60),
            (1, 1, 1, 0.25, 0.5, 0, 60),
            (1, 1, 0, 0.25, 1.0, None, None),
        ),
        "times": [
            span("page_to_cart", FUNNEL[0], FUNNEL[6], 1, 360, 0.0, 5),
            span("click_to_result", FUNNEL[1], FUNNEL[4], 2, 180, 1.0, 4),
        ],
        "uplift": {
            "tried": {"visitors": 2, "added": 1, "added_same": 1, "rate": 0.5},
            "others": {"visitors": 2, "added": 1, "rate": 0.5},
            "waiting": 0,
            "difference": 0.0,
            "low": None,
            "high": None,
            "words": TOO_FEW,
            "caveat": CAVEAT,
        },
        "side_steps": [
            {"event": event, "name": name, "visitors": 1, "before": 0}
            for event, name in zip(
                OTHERS, ("Result shared", "Result downloaded", "Email collected"), strict=True
            )
        ],
        "days": [
            day("2026-03-10", 15, 3, 0.5, day("2026-03-08", 6, 1, 0.0)),
            day("2026-03-11", 8, 4, None, day("2026-03-09", 3, 1, None)),
        ],
        "hours": [],
        "breakdown": {
            "by": "device", "sort": "visitors", "page": 1, "pages": 1,
            "groups": [
                group("", 4, [3, 1, 1, 1, 1, 0, 0], 0.0),
                group("mobile", 1, [1, 1, 1, 1, 1, 1, 1], 1.0),
            ],
            "folded": None, "comparison": None, "experiment": None,
        },
    }  # fmt: skip


def test_of_one_day_the_hours_are_told_and_of_one_group_its_events_alone(database, eight):
    one_day = Period(FIRST, FIRST)
    hours = report(database, eight, one_day, "product")["hours"]
    assert [hour for hour in hours if hour["events"] or hour["before"]] == [
        {"hour": 12, "events": 15, "before": 3}
    ]
    assert [hour["hour"] for hour in hours] == list(range(24))
    of_one = report(database, eight, one_day, "product", only=Choice("product", "p2"))
    assert of_one["hours"] == []
    assert of_one["only"] == {"by": "product", "value": "p2", "title": None}
    assert of_one["visitors"] == {"now": 2, "before": 0}
    assert of_one["events"] == {"now": 12, "before": 0}
    assert of_one["saw_result"] == {"now": 2, "before": 0}
    assert [step["visitors"] for step in of_one["funnel"]] == [2, 2, 2, 2, 2, 1, 1]
    assert of_one["uplift"]["others"] == {"visitors": 0, "added": 0, "rate": None}
    before = day("2026-03-09", 0, 0, None)
    assert of_one["days"] == [day("2026-03-10", 12, 2, 0.5, before)]
    assert of_one["breakdown"]["groups"] == [
        group("p2", 2, [2, 2, 2, 2, 2, 1, 1], 0.5),
        group("p3", 1, [1, 0, 0, 0, 0, 0, 0], 0.0),
    ]
    before = report(database, eight, Period(SECOND, SECOND), "product",
                    only=Choice("product", "p2"))  # fmt: skip
    assert (before["visitors"], before["events"]) == (
        {"now": 0, "before": 2}, {"now": 0, "before": 12}
    )  # fmt: skip


# In a terminal.


@pytest.fixture
def terminal(settings, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", as_url(settings.database_url))
    monkeypatch.setenv("REDIS_URL", settings.redis_url)
    monkeypatch.setenv("SHOPIFY_API_SECRET", SECRET)

    def terminal(group, *words):
        ended = CliRunner().invoke(group, words)
        assert ended.exit_code == 0, ended.output
        return ended.output

    return terminal


FUNNEL_LINES = """
Only product: p2
Up to date as of NOW (0 batches pending; all shops: 0 to be stored).

                            visitors  of first  of prev.   dropped  median to next
Product page viewed                2    100.0%         –         0  1 min
Button clicked                     2    100.0%    100.0%         0  1 min
Photo uploaded                     2    100.0%    100.0%         0  1 min
Generation started                 2    100.0%    100.0%         0  1 min
Result viewed                      2    100.0%    100.0%         1  1 min
Add clicked in the widget          1     50.0%     50.0%         0  1 min
Added in the widget                1     50.0%    100.0%         –  –

From product page to added in the widget
The median of 1 visitor is 6 min; 0.0% took less than 5 min.
under 10 sec                       0      0.0%
10 sec to 30 sec                   0      0.0%
30 sec to 1 min                    0      0.0%
1 min to 2 min                     0      0.0%
2 min to 5 min                     0      0.0%
5 min to 15 min                    1    100.0%
15 min to 1 hr                     0      0.0%
1 hr to 6 hr                       0      0.0%
6 hr or longer                     0      0.0%

From button to result
The median of 2 visitors is 3 min; 100.0% took less than 5 min.
under 10 sec                       0      0.0%
10 sec to 30 sec                   0      0.0%
30 sec to 1 min                    0      0.0%
1 min to 2 min                     0      0.0%
2 min to 5 min                     2    100.0%
5 min to 15 min                    0      0.0%
15 min to 1 hr                     0      0.0%
1 hr to 6 hr                       0      0.0%
6 hr or longer                     0      0.0%

Added to cart: 50.0% of 2 who saw a result, – of 0 who saw the product page only
Too few adds to compare yet. Each group needs at least 10 visitors who added, and 10 who did not.
An observation, not proof: people who try something on may have been closer to buying anyway.

Result shared                      0
Result downloaded                  0
Email collected                    0

By device
not sent                                        4  3 2 1 1 1 1 0
mobile                                          1  1 1 1 1 1 1 1
"""


def test_a_terminal_shows_the_report_in_columns(terminal, eight):
    words = ("funnel", "--shop", SHOP, "--from", "2026-03-10", "--to", "2026-03-10")
    shown = terminal(commands.report, *words, "--by", "device", "--only", "product:p2")
    head, *lines = shown.splitlines()
    assert head == f"{SHOP}  2026-03-10 to 2026-03-10, days in UTC"
    told, moment = lines[1].split("as of ")
    lines[1] = f"{told}as of NOW{moment[16:]}"
    of_day = FUNNEL_LINES.replace(
        "not sent                                        4  3 2 1 1 1 1 0",
        "not sent                                        2  2 1 1 1 1 0 0",
    )
    of_day = of_day.replace(
        CAVEAT,
        f"{CAVEAT[:-1]}, and who looks at one group after another finds some that differ by"
        " chance.",
    )
    assert lines == of_day.strip().splitlines()


def test_a_text_that_would_steer_the_terminal_is_shown_as_one_that_does_not(capsys):
    shown = {"visitors": 1_234, "steps": [3, 2, 1]}
    commands._echo_group("a\x1b[2Jb" + "c" * 60, shown)
    assert capsys.readouterr().out == f"a\ufffd[2Jb{'c' * 34}    1,234  3 2 1\n"


def test_the_comparison_has_its_interval_and_who_still_waits(capsys):
    tried, others = {"rate": 0.5, "visitors": 1_000}, {"rate": 0.25, "visitors": 2_000}
    commands._echo_uplift(
        {"tried": tried, "others": others, "low": 0.2, "high": 0.3, "difference": 0.25,
         "words": "WORDS", "caveat": "CAVEAT", "waiting": 3},
        24,
    )  # fmt: skip
    assert capsys.readouterr().out.splitlines() == [
        "",
        "Added to cart: 50.0% of 1,000 who saw a result, 25.0% of 2,000 who saw the product page"
        " only",
        "Difference: +25.0 points, 95% interval +20.0 points to +30.0 points",
        "WORDS",
        "CAVEAT",
        "3 visitors are still within their 24 hours, and in none of these rates.",
        "",
    ]
