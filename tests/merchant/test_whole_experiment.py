"""An experiment, its plan and its lines in a terminal, whole: of so few visitors that each number
can be counted by hand."""

from datetime import UTC, date, datetime, timedelta

import pytest

from app.batch.arm import is_held_back
from app.counts.period import find_shop
from app.merchant import experiment_commands, experiments
from app.merchant.statistics import Arm, detectable, difference_interval, ratio_interval
from tests.calls import SHOP
from tests.counts.histories import BUTTON, CART_ADD, PAGE, batch, count_all, store

NOW = datetime(2026, 11, 20, 9, tzinfo=UTC)
BEGAN = NOW - timedelta(days=9)
SALT = "salt"


def people(arm):
    return [f"v-{n}" for n in range(400) if is_held_back(SALT, 20, f"v-{n}") == arm][:40]


@pytest.fixture
def experiment(database, monkeypatch):
    """Forty with the widget, of whom ten add; forty without, of whom four do and one sees it; on
    the first day and, the second half of each, on the last, so that they still wait."""
    with database.transaction():
        experiments.start(database, SHOP, share=20, salt=SALT, begins=BEGAN.isoformat())
    batches = []
    for arm, adds in ((False, 10), (True, 4)):
        for number, visitor in enumerate(people(arm)):
            at = BEGAN + timedelta(hours=1, days=8.5 * (number >= 30))
            events = [(PAGE, at)]
            if arm and number == 3:
                events.append((BUTTON, at + timedelta(minutes=1)))
            if number < adds:
                events.append((CART_ADD, at + timedelta(minutes=2)))
            batches.append(batch(visitor, *events))
    store(database, *batches)
    count_all(database)
    return experiments.show(database, find_shop(database, SHOP), now=NOW, share=20)


def test_an_experiment_is_shown_with_each_of_its_numbers(experiment):
    shown = dict(experiment["experiment"])
    arms = Arm(30, 10), Arm(30, 4)
    low, high = difference_interval(*arms)
    of_ratio = ratio_interval(*arms)
    days = [
        {"day": day, "arm": arm, "visitors": visitors, "waiting": waiting, "added": added,
         "saw_widget": saw}
        for day, arm, visitors, waiting, added, saw in (
            ("2026-11-11", "widget", 30, 0, 10, 0),
            ("2026-11-11", "holdout", 30, 0, 4, 1),
            ("2026-11-19", "widget", 10, 10, 0, 0),
            ("2026-11-19", "holdout", 10, 10, 0, 0),
        )
    ]  # fmt: skip
    assert sorted(shown.pop("days"), key=str) == sorted(days, key=str)
    assert [(one["name"], one["ok"]) for one in shown.pop("checks")] == [
        ("out_of_proportion", False), ("seen", False), ("too_short", False), ("too_few", False)
    ]  # fmt: skip
    forecast = shown.pop("forecast")
    assert shown.pop("answer").startswith("The arms are out of proportion: 40 of 80 visitors")
    assert shown == {
        "id": 1,
        "share": 20,
        "salt": SALT,
        "start": "2026-11-11T09:00:00+00:00",
        "end": None,
        "is_running": True,
        "window_hours": 24,
        "verdict": "out_of_proportion",
        "widget": {"visitors": 30, "waiting": 10, "added": 10, "rate": 10 / 30},
        "holdout": {
            "visitors": 30, "waiting": 10, "added": 4, "rate": 4 / 30, "saw_widget": 1
        },
        "difference": {"value": pytest.approx(0.2), "low": low, "high": high},
        "ratio": {"value": 2.5, "low": of_ratio[0], "high": of_ratio[1]},
    }  # fmt: skip
    # Fewer than 20 held back have added, so the rate is that of all; 80 came in nine days.
    looks = [
        (days, detectable(80 + 80 / 9 * (days - 9 - 1), 0.2, 14 / 60))
        for days in experiments.PLANNED_DAYS
        if days >= 9 + 7
    ]
    length, difference = next(look for look in looks if look[1] is not None)
    assert forecast == {
        "difference": pytest.approx(difference),
        "by": f"{BEGAN.date() + timedelta(days=length)}",
    }


@pytest.mark.parametrize("there", [False, True])
def test_of_one_arm_alone_there_is_its_rate_and_no_difference(database, there):
    with database.transaction():
        experiments.start(database, SHOP, share=20, salt=SALT, begins=BEGAN.isoformat())
    at = BEGAN + timedelta(hours=1)
    visitors = people(there)[:4]
    store(database, batch(visitors[0], (PAGE, at), (CART_ADD, at)),
          *(batch(one, (PAGE, at)) for one in visitors[1:]))  # fmt: skip
    count_all(database)
    shown = experiments.show(database, find_shop(database, SHOP), now=NOW)["experiment"]
    arm, other = ("holdout", "widget") if there else ("widget", "holdout")
    assert (shown[arm]["visitors"], shown[arm]["rate"]) == (4, 0.25)
    assert (shown[other]["visitors"], shown[other]["rate"]) == (0, None)
    assert (shown["difference"], shown["ratio"]) == (None, None)


def test_before_it_has_had_a_day_the_forecast_is_by_the_traffic_before():
    numbers = experiments.in_both_arms(
        experiments.Experiment(1, 20, SALT, NOW - timedelta(hours=23), None), [], NOW
    )
    before = experiments.Traffic(5_000.0, 0.1)
    shop = type("Shop", (), {"window_hours": 24, "time_zone": "Asia/Tokyo"})
    begun = NOW - timedelta(hours=23)

    def forecast(before, **changes):
        fields = {"id": 1, "share": 20, "salt": SALT, "start": begun, "end": None} | changes
        return experiments._forecast(experiments.Experiment(**fields), numbers, before, shop, NOW)

    first = forecast(before)
    remaining = 14 - 23 / 24 - 1
    assert first.difference == pytest.approx(detectable(5_000 * remaining, 0.2, 0.1))
    assert first.by == date(2026, 12, 3)  # 10:00 in London is the same day in Tokyo
    assert forecast(None) == experiments.Forecast(None, None)
    end = begun + timedelta(days=14)
    assert forecast(before, end=end) == first
    assert forecast(before, end=end - timedelta(seconds=1)) == experiments.Forecast(None, None)
    # One that begins later has all of its days before it.
    later = forecast(before, start=NOW + timedelta(days=2, hours=8))
    assert later.difference == pytest.approx(detectable(5_000 * 13, 0.2, 0.1))
    assert later.by == date(2026, 12, 7)
    assert forecast(experiments.Traffic(0.001, 0.1)) == experiments.Forecast(None, None)


def test_the_plan_is_by_the_last_four_weeks(database):
    store(database, batch("old", (PAGE, datetime.now(UTC) - timedelta(days=60))))
    count_all(database)
    shop = find_shop(database, SHOP)
    assert experiments.traffic(database, shop) is None
    noon = datetime.combine(shop.today, datetime.min.time(), UTC) + timedelta(hours=12)
    for number in range(8):
        at = noon - timedelta(days=10 if number < 4 else 2)
        added = [(CART_ADD, at)] if number in (0, 5) else []
        store(database, batch(f"v-{number}", (PAGE, at), *added))
    store(database, batch("today", (PAGE, noon - timedelta(hours=11))))
    count_all(database)
    found = experiments.traffic(database, shop)
    assert (found.daily, found.rate) == (8 / 10, 2 / 8)
    plan = experiments.show(database, shop, share=7)["plan"]
    assert (plan["visitors_per_day"], plan["rate"]) == (8 / 10, 2 / 8)
    assert [one["share"] for one in plan["shares"]] == [5, 7, 10, 20, 50]
    for one in plan["shares"]:
        assert one["shows"] == [
            {
                "days": days,
                "by": f"{shop.today + timedelta(days=days)}",
                "difference": detectable(0.8 * (days - 1), one["share"] / 100, 0.25),
            }
            for days in (14, 28, 56, 90, 180, 365)
        ]


def test_a_terminal_shows_the_experiment_in_columns(capsys):
    arm = {"visitors": 1_234, "added": 56, "rate": 0.0454, "waiting": 7}
    shown = {
        "answer": "ANSWER", "share": 20, "start": "2026-11-11T09:00:00+00:00", "end": None,
        "widget": arm, "holdout": {**arm, "visitors": 5},
        "checks": [{"ok": True, "words": "one"}, {"ok": False, "words": "two"}],
    }  # fmt: skip
    experiment_commands._echo_experiment(shown)
    lines = [
        "ANSWER",
        "",
        "20 % held back from 2026-11-11T09:00 on",
        "widget         1,234 visitors        56 added      4.5%         7 within their window",
        "holdout            5 visitors        56 added      4.5%         7 within their window",
        "ok  one",
        "BAD two",
    ]
    assert capsys.readouterr().out.splitlines() == lines
    experiment_commands._echo_experiment({**shown, "end": "2026-11-12T10:30:00+00:00"})
    lines[2] = "20 % held back from 2026-11-11T09:00 to 2026-11-12T10:30"
    assert capsys.readouterr().out.splitlines() == lines


def test_a_terminal_shows_the_plan_in_columns(capsys):
    looks = [{"by": "2026-12-01", "difference": None}, {"by": "2026-12-15", "difference": 0.01234}]
    experiment_commands._echo_plan(
        {"visitors_per_day": 1_234.5, "rate": 0.05, "shares": [{"share": 5, "shows": looks}]}
    )
    assert capsys.readouterr().out.splitlines() == [
        "",
        "Smallest rise that would show, in points, with 1,234 new visitors a day of whom 5.0% add"
        " to the cart:",
        "held back   2026-12-01  2026-12-15",
        "      5 %             -        1.23",
    ]
    experiment_commands._echo_plan({"shares": []})
    assert capsys.readouterr().out == (
        "\nNobody has added to the cart in the last 28 days: nothing to plan by.\n"
    )
