"""Numbers, days and drawings as a merchant sees them."""

import csv
import io
import re
from datetime import date, timedelta

import pytest

from app.counts.period import LONGEST
from app.merchant import charts, words
from app.merchant.language import ENGLISH
from app.merchant.ranges import read_period, read_view
from app.merchant.tables import TABLES, as_csv, as_ndjson
from app.merchant.uplift import Group, Uplift
from app.replies import Refusal
from tests.cases import CASES

TODAY = date(2026, 3, 31)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, "–"), (0, "0 sec"), (59, "59 sec"), (60, "1 min"), (125, "2 min 5 sec"),
     (599, "9 min 59 sec"), (601, "10 min"), (3_599, "59 min"), (3_600, "1 hr"), (3_659, "1 hr"),
     (3_660, "1 hr 1 min"), (12_000, "3 hr 20 min"), (90_000, "25 hr")],
)  # fmt: skip
def test_a_time_is_told_in_its_two_largest_units(seconds, shown):
    assert ENGLISH.duration(seconds) == shown


@pytest.mark.parametrize(
    ("share", "percent", "points"),
    [(None, "–", "–"), (0, "0.0%", "+0.0 points"), (0.1234, "12.3%", "+12.3 points"),
     (1, "100.0%", "+100.0 points")],
)  # fmt: skip
def test_shares_are_told_of_a_hundred(share, percent, points):
    assert (ENGLISH.percent(share), words.points(ENGLISH, share)) == (percent, points)


def test_what_is_less_has_a_minus_sign_and_no_hyphen():
    assert words.points(ENGLISH, -0.051) == "−5.1 points"
    assert words.change(ENGLISH, 50, 2_000) == "−98% from 2,000 in the period before"


@pytest.mark.parametrize(
    ("now", "before", "shown"),
    [(5, 0, "none in the period before"), (3, 2, "+50% from 2 in the period before"),
     (2, 2, "+0% from 2 in the period before")],
)  # fmt: skip
def test_a_change_is_told_against_the_period_before(now, before, shown):
    assert words.change(ENGLISH, now, before) == shown
    same_hours = shown.replace("in the period", "in the same hours of the period")
    assert words.change(ENGLISH, now, before, "2026-03-10T12:00:00") == same_hours


def test_a_window_is_told_in_hours_or_as_a_week():
    shown = [ENGLISH.hours(hours) for hours in (1, 24, 72, 168)]
    assert shown == ["1 hour", "24 hours", "72 hours", "7 days"]


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ({}, TODAY - timedelta(days=27), TODAY),
        ({"range": "today"}, TODAY, TODAY),
        ({"range": "7"}, TODAY - timedelta(days=6), TODAY),
        ({"range": "90"}, TODAY - timedelta(days=89), TODAY),
        ({"from": "2026-03-01"}, date(2026, 3, 1), TODAY),
        ({"from": "2026-03-31"}, TODAY, TODAY),
        ({"from": "1900-01-01", "to": "1900-01-01"}, date(1900, 1, 1), date(1900, 1, 1)),
        ({"from": "9989-12-31", "to": "9989-12-31"}, date(9989, 12, 31), date(9989, 12, 31)),
    ],
)
def test_both_ends_of_a_range_are_in_it(asked, first, last):
    period = read_period(asked, TODAY)
    assert (period.first, period.last) == (first, last)


def test_a_range_has_a_longest():
    first = TODAY - timedelta(days=LONGEST - 1)
    assert read_period({"from": first.isoformat()}, TODAY).first == first
    with pytest.raises(Refusal, match="Choose at most 400 days"):
        read_period({"from": (first - timedelta(days=1)).isoformat()}, TODAY)


@pytest.mark.parametrize(
    "asked",
    [{"range": "8"}, {"to": "2026-03-01"}, {"from": "2026-04-01"}, {"from": "20260301"},
     {"from": "2026-W10-1"}, {"from": "1899-12-31", "to": "1899-12-31"},
     {"from": "9990-01-01", "to": "9990-01-01"}],
)  # fmt: skip
def test_a_range_that_cannot_be_is_refused_by_name(asked):
    with pytest.raises(Refusal) as refused:
        read_period(asked, TODAY)
    assert (refused.value.status, refused.value.code) == (400, "VALIDATION_FAILED")
    assert refused.value.details[0]["path"] in {*asked, "from", "to"}
    assert str(refused.value) == refused.value.message


def test_groups_are_by_product_where_nothing_else_is_asked():
    assert read_view({}) == ("product", "visitors", 1, "funnel")
    assert read_view({"by": "device", "sort": "rate", "page": "12"}) == (
        "device",
        "rate",
        12,
        "funnel",
    )


@pytest.mark.parametrize(
    "asked",
    [{"by": "shoe size"}, {"sort": "luck"}, {"page": "0"}, {"page": "-1"}, {"page": "12345"},
     {"page": "\u0661"}, {"page": ""}],
)  # fmt: skip
def test_groups_that_cannot_be_shown_are_refused_by_name(asked):
    with pytest.raises(Refusal) as refused:
        read_view(asked)
    assert refused.value.details[0]["path"] in asked


@pytest.mark.parametrize(
    ("number", "top"),
    [(0, 4), (4, 4), (5, 5), (9, 9), (10, 10), (11, 15), (15, 15), (16, 20), (99, 100),
     (100, 100), (101, 150), (4_321, 4_500), (1_000_000, 1_000_000)],
)  # fmt: skip
def test_an_axis_ends_a_little_above_the_largest_number(number, top):
    assert charts.ceiling(number) == top


def points(drawing):
    return re.search(r'class="stroke" points="([^"]*)"', drawing)[1]


def test_a_line_goes_from_side_to_side_and_from_the_ground_up():
    drawing = charts.line([0, 2, 4], 'A "title"')
    assert points(drawing) == "0.0,150.0 300.0,75.0 600.0,0.0"
    assert 'points="0.0,150 0.0,150.0 300.0,75.0 600.0,0.0 600.0,150"' in drawing
    assert re.findall(r'y1="([^"]*)" y2="([^"]*)"', drawing) == [
        ("0", "0"), ("75.0", "75.0"), ("150", "150")
    ]  # fmt: skip
    assert 'aria-label="A &quot;title&quot;"' in drawing


def test_bars_stand_on_the_ground_and_on_the_points_of_a_line():
    drawn = charts.bars([0, 4, 2], "Times")
    found = re.findall(r'<rect .*?x="(.*?)" width="(.*?)" y="(.*?)" height="(.*?)"', drawn)
    shapes = [tuple(map(float, shape)) for shape in found]
    assert [x + width / 2 for x, width, *_ in shapes] == [0, 300, 600]
    assert [(y, height) for *_, y, height in shapes] == [(150, 0), (0, 150), (75, 75)]


def test_a_second_line_has_the_same_axis():
    drawing = charts.line([1, 2], "", [8, 4])
    assert points(drawing) == "0.0,131.2 600.0,112.5"
    assert re.search(r'class="before" points="([^"]*)"', drawing)[1] == "0.0,0.0 600.0,75.0"
    assert charts.highest([1, None], [8]) == 8


def test_a_line_leaves_out_what_is_not_known_and_one_day_alone_is_seen():
    drawing = charts.line([4, None, 4, 4, None], "")
    lines = re.findall(r'class="stroke" points="([^"]*)"', drawing)
    assert lines == ["0.0,0.0 37.5,0.0", "300.0,0.0 450.0,0.0"]
    assert charts.line([None], "").count("polyline") == 0


def test_a_line_of_one_day_is_level_and_one_of_none_is_no_fault():
    assert points(charts.line([2], "")) == "0.0,75.0 600,75.0"
    assert "polyline" not in charts.line([], "")


def test_long_tables_come_in_pieces_and_whole():
    table = [("n", "text"), *((number, "x" * 50) for number in range(2_000))]
    pieces = list(as_csv(table))
    assert len(pieces) > 2
    assert all(len(piece) < 33_000 for piece in pieces)
    lines = "".join(pieces).splitlines()
    assert len(lines) == 2_001
    assert (lines[0], lines[-1]) == ('\ufeff"n","text"', f'1999,"{"x" * 50}"')
    pieces = list(as_ndjson(table))
    assert [piece.count(b"\n") for piece in pieces] == [100] * 20 + [0]
    assert b"".join(pieces).splitlines()[1] == b'{"n":1,"text":"%b"}' % (b"x" * 50)
    assert list(as_ndjson([])) == [b""]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize(
    "text",
    [CASES["csv"]["product_id"], "=1", "+1", "-1+1", "@a", "a;=1", "a\t=1", "a\n=1", 'a;"=1"',
     "a; =1", "' =1", "\uff1d1", "a;\uff20b"],
)  # fmt: skip
def test_no_cell_is_a_formula_whatever_separates(separator, text):
    pieces = "".join(as_csv([("a", "b", "c"), (text, text, 1), (text, text, 2)]))
    cells = [cell for row in csv.reader(io.StringIO(pieces), delimiter=separator) for cell in row]
    assert not [cell for cell in cells if cell.startswith(DANGEROUS)]


DANGEROUS = tuple("=+-@\uff1d\uff0b\uff0d\uff20")


@pytest.mark.parametrize("text", ["7012345678901", "007", "1e5", "2.10", "2.1.0", "3/4", "1-2"])
def test_a_text_that_a_spreadsheet_would_change_is_marked_as_one(text):
    assert "".join(as_csv([("id",), (text,)])).splitlines()[1] == f'"\'{text}"'


@pytest.mark.parametrize("text", ["2026-03-01", "7", "0", "event_1", "gid://shopify/Product/456"])
def test_any_other_text_stays_as_it_is_in_quotes(text):
    assert "".join(as_csv([("id",), (text,)])).splitlines()[1] == f'"{text}"'


def test_a_table_begins_with_the_mark_of_utf_8_and_its_numbers_have_no_quotes():
    assert "".join(as_csv([("n", "\u00fc"), (1, None), (-0.5, 2)])).split("\r\n") == [
        '\ufeff"n","\u00fc"', '1,""', "-0.5,2", ""
    ]  # fmt: skip


def test_with_an_empty_group_there_is_no_difference():
    empty = Uplift(Group(0, 0), Group(100, 5))
    assert (empty.difference, empty.interval) == (None, None)
    assert Uplift(Group(50, 20), Group(50, 5)).difference == pytest.approx(0.3)


GROUP = {"title": None, "visitors": 9, "steps": [3, 2, 1], "rate": 0.5}
BREAKDOWN = {
    "funnel": [{"name": name} for name in ("One", "Two", "Three")],
    "breakdown": {
        "by": "product",
        "groups": [{**GROUP, "value": "p1", "title": "Shirt"}, {**GROUP, "value": ""}],
        "folded": {"groups": 12, "visitors": 20, "steps": [7, 6, 5]},
    },
}


def test_a_table_of_groups_ends_with_what_was_folded():
    rows = [list(row) for row in TABLES["breakdown"](BREAKDOWN)]
    assert rows == [
        ["product", "visitors", "One", "Two", "Three", "rate", "title"],
        ["p1", 9, 3, 2, 1, 0.5, "Shirt"],
        ["", 9, 3, 2, 1, 0.5, None],
        ["12 more", 20, 7, 6, 5, None, None],
    ]
    whole = {**BREAKDOWN["breakdown"], "folded": None}
    assert len(list(TABLES["breakdown"]({**BREAKDOWN, "breakdown": whole}))) == 3


def test_the_funnel_the_times_and_the_comparison_have_a_row_for_each_of_their_parts():
    columns = ("step", "event", "name", "visitors", "before", "over", "of_first", "of_previous",
               "dropped", "median_seconds_to_next")  # fmt: skip
    side = {"visitors": 4, "added": 2, "rate": 0.5}
    shown = {
        "funnel": [{**{name: name.upper() for name in columns}, "other": 1}],
        "times": [
            {"span": "s", "name": "n", "median_seconds": 9, "visitors": 3,
             "classes": [{"from_seconds": 0, "to_seconds": 10, "visitors": 3, "share": 1.0}]}
        ],
        "uplift": {"tried": {**side, "added_same": 1}, "others": side, "waiting": 7,
                   "difference": 0.25, "low": -0.5, "high": 0.5, "caveat": "But"},
    }  # fmt: skip

    def rows(name):
        return [tuple(row) for row in TABLES[name](shown)]

    assert rows("funnel") == [columns, tuple(name.upper() for name in columns)]
    assert rows("times") == [
        ("span", "name", "from_seconds", "to_seconds", "visitors", "share", "median_seconds"),
        ("s", "n", 0, 10, 3, 1.0, 9),
    ]
    assert rows("uplift") == [
        ("group", "visitors", "added", "added_same", "rate"),
        ("tried", 4, 2, 1, 0.5),
        ("others", 4, 2, None, 0.5),
        ("waiting", 7, None, None, None),
        ("difference", None, None, None, 0.25),
        ("low", None, None, None, -0.5),
        ("high", None, None, None, 0.5),
        ("But", None, None, None, None),
    ]


def test_the_other_tables_have_a_column_for_each_number():
    step = {"event": "a:b", "name": "Name", "visitors": 5, "before": 3}
    day = {"day": "2026-03-10", "events": 9, "visitors": 5, "rate": 0.5}
    hour = {"hour": 7, "events": 9, "before": 2}
    shown = {
        "side_steps": [step],
        "days": [{**day, "before": {**day, "day": "2026-03-09", "events": 1}}],
        "hours": [hour],
        "breakdown": {
            "by": "device",
            "comparison": {
                "groups": [
                    {"value": "mobile", "title": None, "difference": 0.25, "low": -0.5, "high": 0.5,
                     "tried": {"visitors": 4, "added": 2, "rate": 0.5},
                     "others": {"visitors": 8, "added": 2, "rate": 0.25}}
                ]
            },
        },
    }  # fmt: skip

    def rows(name):
        return [tuple(row) for row in TABLES[name](shown)]

    assert rows("side_steps") == [
        ("event", "name", "visitors", "before"), ("a:b", "Name", 5, 3)
    ]  # fmt: skip
    assert rows("days") == [
        ("day", "events", "visitors", "rate", "day_before", "events_before", "visitors_before",
         "rate_before"),
        ("2026-03-10", 9, 5, 0.5, "2026-03-09", 1, 5, 0.5),
    ]  # fmt: skip
    assert rows("hours") == [("hour", "events", "before"), (7, 9, 2)]
    assert rows("comparison") == [
        ("device", "visitors_tried", "added_tried", "rate_tried", "visitors_others",
         "added_others", "rate_others", "difference", "low", "high", "title"),
        ("mobile", 4, 2, 0.5, 8, 2, 0.25, 0.25, -0.5, 0.5, None),
    ]  # fmt: skip
