"""The experiment in each product, device and language, where there is enough."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from app.batch.arm import is_held_back
from app.counts import values
from app.counts.measures import Dimension
from app.counts.period import find_shop
from app.merchant import breakdown, curves, experiments
from app.merchant.groups import Choice
from app.merchant.language import ENGLISH
from app.merchant.statistics import Arm, boundary, difference_interval, information
from tests.calls import SHOP
from tests.counts.histories import BUTTON, CART_ADD, PAGE, batch, count_all, store
from tests.merchant.conftest import text_of
from tests.merchant.test_only import rows

NOW = datetime.now(UTC)
SALT = "salt"
# Of each product: visitors of an arm, and how many add with the widget and without.
NUMBERS = {"coat": (110, 99, 22), "hat": (120, 40, 42), "few": (60, 30, 19)}


def people(arm, prefix):
    return [f"{prefix}-{n}" for n in range(400) if is_held_back(SALT, 50, f"{prefix}-{n}") == arm]


def begin(database, days_ago=16):
    with database.transaction():
        began = (NOW - timedelta(days=days_ago)).isoformat()
        return experiments.start(database, SHOP, share=50, salt=SALT, begins=began)


def visits(*, saw_widget=0, numbers=NUMBERS):
    """On two days, but for five of each arm who look at a hat now and still wait."""
    for product, (visitors, *adds) in numbers.items():
        for arm, added in zip((False, True), adds, strict=True):
            waiting = 5 * (product == "hat")
            for number, visitor in enumerate(people(arm, product)[: visitors + waiting]):
                ago = timedelta(days=8 + number % 2) if number < visitors else timedelta(hours=2)
                at = NOW - ago
                events = [(PAGE, at)] + [(CART_ADD, at + timedelta(minutes=1))] * (number < added)
                events += [(BUTTON, at + timedelta(minutes=2))] * (arm and number < saw_widget)
                yield batch(visitor, *events, product_id=product, device_class="mobile")


@pytest.fixture
def tested(database):
    begin(database)
    store(database, *visits())
    count_all(database)


def shown(merchant, **query):
    reply = merchant("/app/api/report", show="experiment", **query).get_json()
    return reply["report"]["breakdown"]


def test_those_with_enough_are_listed_by_their_own_numbers_the_largest_first(
    merchant, tested, database
):
    found = shown(merchant, by="product", range="today")
    assert (found["groups"], found["folded"], found["comparison"]) == ([], None, None)
    trial = found["experiment"]
    assert (trial["of"], trial["enough"], trial["answer"]) == (3, 2, None)
    assert [group["value"] for group in trial["groups"]] == ["hat", "coat"]
    for group in trial["groups"]:
        visitors, with_it, without = NUMBERS[group["value"]]
        waiting = 5 * (group["value"] == "hat")
        sides = {"widget": with_it, "holdout": without}
        for arm, added in sides.items():
            assert group[arm] == {
                "visitors": visitors, "waiting": waiting, "added": added, "rate": added / visitors,
            }  # fmt: skip
        difference = (with_it - without) / visitors
        assert group["difference"] == pytest.approx(difference)
        alone = difference_interval(Arm(visitors, with_it), Arm(visitors, without))
        assert group["low"] < alone[0] < difference < alone[1] < group["high"]
        only = Choice("product", group["value"])
        one = experiments.show(database, find_shop(database, SHOP), only=only)["experiment"]
        assert [one[arm]["added"] for arm in sides] == list(sides.values())
    assert trial["groups"][1]["low"] > 0


def test_it_is_on_the_page_and_in_a_csv_some_to_a_page(merchant, tested, monkeypatch):
    monkeypatch.setattr(breakdown, "AT_ONCE", 1)
    page = merchant("/app", show="experiment", page="2")
    assert "the checks of the experiment hold: 2 of 3." in text_of(page)
    assert "Page 2 of 2" in text_of(page)
    assert "coat 110 90.0% 110 20.0% +70.0 points" in text_of(page)
    assert "Visitors per product." not in text_of(page)  # here each visitor is in one
    assert re.search(r'class="link" readonly value="[^"]*&amp;show=experiment', page.text)
    head, *lines = rows(merchant("/app/api/table.csv", table="experiment"))
    assert head[:4] == ["product", "visitors_widget", "added_widget", "rate_widget"]
    assert [line[:3] for line in lines] == [["hat", "120", "40"], ["coat", "110", "99"]]


def test_by_device_it_is_of_all_and_by_version_it_cannot_be(merchant, tested):
    [mobile] = shown(merchant, by="device")["experiment"]["groups"]
    assert (mobile["value"], mobile["widget"]["visitors"]) == ("mobile", 290)
    versions = shown(merchant, by="version")["experiment"]
    assert (versions["of"], versions["groups"]) == (0, [])
    assert versions["answer"].startswith("Visitors from whom the widget is held back have no")
    page = merchant("/app", show="experiment", by="version")
    assert versions["answer"] in text_of(page)
    assert "the checks of the experiment hold" not in text_of(page)


@pytest.mark.parametrize(
    ("days_ago", "saw_widget", "words"),
    [(10, 0, "Too early to say: 10 of 14"), (16, 3, "The widget was not held back")],
)
def test_what_is_wrong_with_the_whole_is_said_and_no_group_listed(
    merchant, database, days_ago, saw_widget, words
):
    begin(database, days_ago)
    store(database, *visits(saw_widget=saw_widget))
    count_all(database)
    trial = shown(merchant)["experiment"]
    assert (trial["of"], trial["enough"], trial["groups"]) == (3, 0, [])
    assert trial["answer"].startswith(words)
    assert text_of(merchant("/app", show="experiment")).count(words) == 3  # card, checks, groups


def test_a_group_out_of_proportion_is_left_out_where_the_whole_is_in_proportion(
    merchant, tested, database
):
    store(database, *visits(numbers={"bag": (100, 40, 40)}))
    store(database, *list(visits(numbers={"cap": (100, 40, 40)}))[:140])  # of one arm 40
    count_all(database)
    trial = shown(merchant)["experiment"]
    assert (trial["of"], trial["answer"]) == (5, None)
    assert [group["value"] for group in trial["groups"]] == ["hat", "coat", "bag"]


def test_where_everybody_added_the_difference_may_be_any(merchant, tested, database):
    store(database, *visits(numbers={"cap": (30, 30, 30)}))
    count_all(database)
    assert "cap 30 100.0% 30 100.0%" in text_of(merchant("/app", show="experiment"))
    cap = shown(merchant)["experiment"]["groups"][-1]
    assert (cap["value"], cap["low"], cap["high"]) == ("cap", -1, 1)


def test_products_beyond_those_by_name_are_no_group(merchant, database, monkeypatch):
    monkeypatch.setitem(values.MOST, Dimension.PRODUCT, 1)
    begin(database)
    for product in ("coat", "hat"):
        store(database, *visits(numbers={product: NUMBERS[product]}))
        count_all(database)
    trial = shown(merchant)["experiment"]
    assert (trial["of"], [group["value"] for group in trial["groups"]]) == (1, ["coat"])


def test_without_an_experiment_there_is_no_tab_for_it(merchant):
    trial = shown(merchant)["experiment"]
    assert (trial["of"], trial["answer"]) == (0, "There is no experiment yet.")
    assert "show=experiment" not in merchant("/app").text


def test_among_many_each_interval_has_its_part_of_the_mistakes():
    arms = Arm(900, 90), Arm(900, 90)

    def width(among):
        low, high = difference_interval(*arms, among)
        return high - low

    adds = information(*arms)
    wider = boundary(adds, 0.05 / 20) / boundary(adds, 0.05)
    assert width(20) / width(1) == pytest.approx(wider, rel=0.03)


def test_with_a_filter_it_is_said_that_some_groups_differ_by_chance(merchant, tested):
    words = "who looks at one group after another finds some that differ by chance."
    assert words not in text_of(merchant("/app")).lower()
    page = text_of(merchant("/app", only="product:coat")).lower()
    assert page.count(words) == 2  # of the comparison, and of the experiment
    uplift = merchant("/app/api/report", only="product:coat").get_json()["report"]["uplift"]
    assert uplift["caveat"].endswith(words)


def test_the_days_are_a_table_too_the_latest_first(merchant, tested):
    page = text_of(merchant("/app"))
    today, *days = (
        ENGLISH.day((NOW - ago).date())
        for ago in (timedelta(hours=2), timedelta(days=8), timedelta(days=9))
    )
    numbers = [
        f"{day} 145 {rates}"
        for day, rates in zip(days, ("58.6% 145 29.0%", "57.9% 145 28.3%"), strict=True)
    ]
    assert f"Visitors Rate {today} 0 – 0 – {' '.join(numbers)}" in page


def test_of_a_long_experiment_the_page_has_the_latest_days_and_says_so():
    first = NOW.date() - timedelta(days=120)
    days = [
        {"day": (first + timedelta(days=number)).isoformat(), "arm": arm,
         "visitors": 10, "waiting": 0, "added": 1}
        for number in range(100) for arm in ("widget", "holdout")
    ]  # fmt: skip
    curve = curves.of_experiment(ENGLISH, {"days": days})
    assert len(curve.points) == 90
    assert curve.points[0].startswith(f"{ENGLISH.day(first + timedelta(days=10))}: 10.0%")
    assert curve.note == "The latest 90 days. The CSV has all."
    whole = curves.of_experiment(ENGLISH, {"days": days[:180]})
    assert (len(whole.points), whole.note) == (90, "")
