"""An experiment is started, stopped and answered on the page, by the API and in a terminal."""

import csv
import io
import json
from datetime import UTC, date, datetime, timedelta

import pytest
from click.testing import CliRunner

from app.batch.arm import is_held_back
from app.counts.period import find_shop
from app.merchant import curves, experiments
from app.merchant.commands import report
from app.merchant.experiment_commands import experiment as command
from app.merchant.experiments import show, start, stop
from app.merchant.language import ENGLISH
from app.merchant.statistics import Arm
from app.merchant.verdict import Forecast, Numbers, checks, verdict
from app.replies import Refusal
from tests.calls import SECRET, SHOP
from tests.counts.histories import BUTTON, CART_ADD, PAGE, batch, count_all, store
from tests.merchant.conftest import OTHER, token
from tests.processes.running import as_url

NOW = datetime.now(UTC)
SALT = "salt"
TODAY = date(2026, 11, 27)


def visits(days, daily, rates, *, start_days_ago=None, salt=SALT, share=20, shop=SHOP):
    """Each day so many visitors, of each arm its share adds; those held back never open it."""
    begun = NOW - timedelta(days=start_days_ago or days)
    number = dict.fromkeys((True, False), 0)
    for day in range(days):
        for one in range(daily):
            visitor = f"v-{day}-{one}"
            arm = is_held_back(salt, share, visitor)
            number[arm] += 1
            at = begun + timedelta(days=day, minutes=one % 1000)
            events = [(PAGE, at)]
            if not arm and one % 4 == 0:
                events.append((BUTTON, at + timedelta(seconds=9)))
            if (number[arm] * rates[arm]) % 1 < rates[arm]:
                events.append((CART_ADD, at + timedelta(minutes=5)))
            yield batch(visitor, *events, shop=shop)


def begin(database, **options):
    with database.transaction():
        return start(database, SHOP, **{"share": 20, "salt": SALT} | options)


def ago(**options):
    return (NOW - timedelta(**options)).isoformat()


def shown(database):
    count_all(database)
    return show(database, find_shop(database, SHOP))


@pytest.mark.slow
def test_a_true_effect_is_answered_with_both_rates_and_an_interval(database):
    begin(database, begins=ago(days=20))
    store(database, *visits(18, 400, {True: 0.05, False: 0.12}))
    answer = shown(database)["experiment"]
    assert answer["verdict"] == "raises"
    assert answer["answer"].startswith("Try-on raises the share who add to the cart from 5.")
    assert answer["answer"].endswith("whenever you look).")
    assert answer["difference"]["low"] > 0
    assert answer["ratio"]["low"] > 1
    assert all(check["ok"] for check in answer["checks"])


@pytest.mark.slow
def test_without_an_effect_it_says_what_would_show_by_when(database):
    begin(database, begins=ago(days=20))
    store(database, *visits(18, 400, {True: 0.1, False: 0.1}))
    experiment = shown(database)["experiment"]
    assert experiment["verdict"] == "not_shown"
    by = date.fromisoformat(experiment["forecast"]["by"])
    assert by >= NOW.date() + timedelta(days=6)
    assert experiment["answer"] == (
        "Not shown yet. At today's traffic a difference of"
        f" {100 * experiment['forecast']['difference']:.1f} points would show by {by:%b} {by.day}"
        f"{'' if by.year == NOW.year else f', {by.year}'}."
    )
    with database.transaction():
        stop(database, SHOP)
    ended = shown(database)["experiment"]
    assert (ended["is_running"], ended["forecast"]) == (False, None)
    assert ended["answer"].startswith("No difference was shown: whatever try-on does")


def test_a_changed_share_is_a_new_experiment_and_the_old_one_stays(database):
    first = begin(database, begins=ago(days=20))
    store(database, *visits(5, 40, {True: 0.1, False: 0.1}, start_days_ago=20))
    with database.transaction():
        assert start(database, SHOP, share=20) == first
        second = start(database, SHOP, share=30)
    assert second.salt != first.salt
    found = shown(database)
    assert (found["experiment"]["share"], found["experiment"]["is_running"]) == (30, True)
    [earlier] = found["earlier"]
    assert (earlier["share"], earlier["is_running"]) == (20, False)
    assert earlier["widget"]["visitors"] + earlier["holdout"]["visitors"] == 200
    assert datetime.fromisoformat(earlier["end"]) == second.start


def test_one_that_has_not_begun_is_gone_when_it_is_stopped(database):
    begin(database, begins=(NOW + timedelta(days=1)).isoformat())
    with database.transaction():
        assert stop(database, SHOP) is None
        assert stop(database, SHOP) is None
    assert show(database, find_shop(database, SHOP))["experiment"] is None


def test_a_shop_has_ten_experiments_and_no_more(database):
    for share in range(1, 13):
        with database.transaction():
            start(database, SHOP, share=share)
    found = shown(database)
    assert found["experiment"]["share"] == 12
    assert len(found["earlier"]) <= 9


@pytest.mark.parametrize(
    ("sent", "path"),
    [
        ({"share": 0}, "share"), ({"share": 51}, "share"), ({"share": "10"}, "share"),
        ({"share": True}, "share"), ({"share": 10.5}, "share"), ({"share": None}, "share"),
        ({"share": 10, "begins": "soon"}, "start"),
        ({"share": 10, "begins": "2026-11-27"}, "start"),
        ({"share": 10, "ends": ago(days=1)}, "end"), ({"share": 10, "ends": 5}, "end"),
        ({"share": 10, "salt": ""}, "salt"), ({"share": 10, "salt": "a b"}, "salt"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_by_its_name(database, sent, path):
    with pytest.raises(Refusal) as refused:
        start(database, SHOP, **sent)
    assert refused.value.details[0]["path"] == path


@pytest.mark.parametrize("begins", [NOW + timedelta(days=1), NOW - timedelta(days=9)])
def test_another_begins_while_the_one_before_it_runs(database, begins):
    begin(database, begins=ago(days=5))
    with pytest.raises(Refusal) as refused:
        start(database, SHOP, share=30, begins=begins.isoformat())
    assert refused.value.details[0]["path"] == "start"
    second = start(database, SHOP, share=30, begins=ago(days=2))
    assert shown(database)["earlier"][0]["end"] == second.start.isoformat()


def test_the_plan_tells_what_would_show_at_the_shops_own_traffic(database):
    assert show_plan(database) == {"visitors_per_day": None, "rate": None, "shares": []}
    store(database, *visits(10, 100, {True: 0.1, False: 0.1}, start_days_ago=10))
    count_all(database)
    plan = show_plan(database, share=15)
    assert plan["visitors_per_day"] == pytest.approx(100, rel=0.15)
    assert plan["rate"] == pytest.approx(0.1, rel=0.05)
    assert [one["share"] for one in plan["shares"]] == [5, 10, 15, 20, 50]
    found = [look["difference"] for look in plan["shares"][-1]["shows"]]
    assert found == sorted(found, reverse=True)
    assert 0.01 < found[-1] < found[0] < 0.3


def show_plan(database, **options):
    database.execute("INSERT INTO shops (domain) VALUES (%s) ON CONFLICT DO NOTHING", [SHOP])
    return show(database, find_shop(database, SHOP), **options)["plan"]


def numbers(**changes):
    whole = {
        "share": 0.1, "widget": Arm(9_000, 540), "holdout": Arm(1_000, 51), "widget_waiting": 0,
        "holdout_waiting": 0, "saw_widget": 0, "days": timedelta(days=30), "is_running": True,
    }  # fmt: skip
    return Numbers(**whole | changes)


FORECAST = Forecast(0.009, date(2026, 12, 20))


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({}, "not_shown",
         "Not shown yet. At today's traffic a difference of 0.9 points would show by Dec 20."),
        ({"widget": Arm(90_000, 5_400), "holdout": Arm(10_000, 510)}, "raises",
         "Try-on raises the share who add to the cart from 5.1% to 6.0% (+0.9 points, between"
         " +0.2 and +1.6 whenever you look)."),
        ({"widget": Arm(90_000, 4_600), "holdout": Arm(10_000, 600)}, "lowers",
         "Try-on lowers the share who add to the cart from 6.0% to 5.1% (−0.9 points, between"
         " −1.7 and −0.2 whenever you look)."),
        ({"holdout": Arm(850, 45)}, "out_of_proportion", "The arms are out of proportion: 850 of"),
        ({"saw_widget": 12}, "seen", "The widget was not held back: 12 of 1,000 held-back"),
        ({"days": timedelta(days=13, hours=23)}, "too_short",
         "Too early to say: 13 of 14 days are over. At today's traffic a difference of 0.9 points"
         " would show by Dec 20."),
        ({"widget": Arm(900, 60), "holdout": Arm(100, 19)}, "too_few",
         "Too few to say: 60 visitors"),
    ],
)  # fmt: skip
def test_the_answer_is_one_of_three_kinds(changes, kind, words):
    found, sentence = verdict(numbers(**changes), FORECAST, TODAY)
    assert (found, sentence[: len(words)]) == (kind, words)


def test_the_sizes_are_those_of_all_also_who_still_wait():
    [sizes, *_] = checks(numbers(holdout=Arm(500, 30), holdout_waiting=500))
    assert (sizes["name"], sizes["ok"]) == ("out_of_proportion", True)


def test_a_few_pages_that_were_open_at_the_start_spoil_nothing():
    assert verdict(numbers(saw_widget=5), FORECAST, TODAY)[0] == "not_shown"


def test_the_api_starts_stops_and_shows_it(merchant, database):
    def call(method, **options):
        headers = {"Authorization": f"Bearer {token()}"}
        return merchant.client.open(
            "/app/api/experiment", method=method, headers=headers, **options
        )

    assert merchant("/app/api/experiment").get_json()["experiment"] is None
    assert call("PUT", json={"share": 51}).status_code == 400
    assert call("PUT", data=b"[").get_json()["code"] == "MALFORMED_JSON"
    assert call("PUT", json={"share": 25, "start": ago(days=20), "salt": SALT}).status_code == 200
    store(database, *visits(3, 100, {True: 0.1, False: 0.1}, share=25, start_days_ago=20))
    count_all(database)
    experiment = merchant("/app/api/experiment").get_json()["experiment"]
    arms = experiment["widget"]["visitors"], experiment["holdout"]["visitors"]
    assert sum(arms) == 300
    head, *lines = csv.reader(
        io.StringIO(merchant("/app/api/experiment.csv").text.removeprefix("\ufeff"))
    )
    assert head == ["day", "arm", "visitors", "waiting", "added", "saw_widget"]
    for arm, visitors in zip(("widget", "holdout"), arms, strict=True):
        assert sum(int(line[2]) for line in lines if line[1] == arm) == visitors
    assert [day["visitors"] for day in experiment["days"]] == [int(line[2]) for line in lines]
    assert merchant("/app/api/experiment", shown=token(shop=OTHER)).get_json()["experiment"] is None
    assert call("DELETE").status_code == 200
    assert call("DELETE").status_code == 200
    assert not merchant("/app/api/experiment").get_json()["experiment"]["is_running"]
    assert merchant("/app/api/experiment", share="0").status_code == 400


def test_the_page_shows_the_plan_and_then_the_answer(merchant, database):
    store(database, *visits(10, 50, {True: 0.1, False: 0.1}, start_days_ago=10))
    count_all(database)
    page = merchant("/app").text
    assert "Hold the widget back from" in page
    assert "The smallest rise that would show" in page
    begin(database)
    page = merchant("/app").text
    assert "Too early to say: 0 of 14 days are over" in page
    assert "Stop the experiment" in page


def test_the_page_draws_both_arms_day_by_day(merchant, database):
    begin(database, begins=ago(days=6))
    store(database, *visits(5, 40, {True: 0.5, False: 0.1}))
    count_all(database)
    curve = curves.of_experiment(ENGLISH, shown(database)["experiment"])
    assert curve.lines == ("with the widget", "without the widget")
    days = {day["day"]: day for day in shown(database)["experiment"]["days"]
            if day["arm"] == "widget" and day["visitors"] > day["waiting"]}  # fmt: skip
    assert len(days) > 2
    for point in curve.points:
        for day, numbers in days.items():
            if point.startswith(f"{ENGLISH.day(day)}:"):
                rate = numbers["added"] / (numbers["visitors"] - numbers["waiting"])
                assert f": {ENGLISH.percent(round(rate, 3))} (with the widget)" in point
    assert "Rate per day" in merchant("/app").text


@pytest.fixture
def terminal(settings, database, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", as_url(settings.database_url))
    monkeypatch.setenv("REDIS_URL", settings.redis_url)
    monkeypatch.setenv("SHOPIFY_API_SECRET", SECRET)
    return lambda group, *words: CliRunner().invoke(group, words)


def test_a_terminal_does_the_same(terminal, database):
    def cli(*words):
        return terminal(command, *words)

    assert "none has begun" in cli("stop", "--shop", SHOP).output
    started = cli("start", "--shop", SHOP, "--share", "25")
    assert "25 % are held back" in started.output
    reply = cli("show", "--shop", SHOP)
    assert "Too early to say" in reply.output
    whole = json.loads(cli("show", "--shop", SHOP, "--json").output)
    assert whole["experiment"]["share"] == 25
    assert ": stopped." in cli("stop", "--shop", SHOP).output
    assert cli("start", "--shop", SHOP, "--share", "60").exit_code == 1
    assert cli("show", "--shop", "nobody.myshopify.com").exit_code == 1
    for name in ("start", "stop"):
        assert "is no shop" in cli(name, "--shop", "a-shop").output


def test_its_columns_are_those_of_the_days(database):
    begin(database)
    [head, *rows] = experiments.days(shown(database))
    assert (head[0], rows) == ("day", [])


def test_the_check_compares_it_with_a_plain_count(terminal, database):
    begin(database, begins=ago(days=5))
    store(database, *visits(5, 40, {True: 0.1, False: 0.1}))
    count_all(database)
    right = terminal(report, "check", "--shop", SHOP)
    assert right.exit_code == 0, right.output
    database.execute("UPDATE experiment_days SET added = added + 1")
    assert "experiment 1: the report has" in terminal(report, "check", "--shop", SHOP).output
