"""What an experiment could show by when is worked out from the traffic there is."""

from datetime import UTC, date, datetime, timedelta

import pytest

from app.counts.period import find_shop
from app.merchant.experiments import show, start
from app.merchant.statistics import detectable
from tests.calls import SHOP
from tests.counts.histories import CART_ADD, PAGE, batch, count_all, midnight, store


def visit(name, *, days_ago, adds):
    at = midnight(days_ago)
    adding = [(CART_ADD, at + timedelta(seconds=30))] if adds else []
    return batch(name, (PAGE, at), *adding)


def shown(database):
    count_all(database)
    return show(database, find_shop(database, SHOP))


def test_the_plan_is_made_by_the_visitors_of_the_28_days_before_today(database):
    store(
        database,
        *(visit(f"v{number}", days_ago=28, adds=number < 4) for number in range(14)),
        *(visit(f"old{number}", days_ago=29, adds=False) for number in range(5)),
        *(visit(f"new{number}", days_ago=0, adds=False) for number in range(5)),
    )
    plan = shown(database)["plan"]
    assert plan["visitors_per_day"] == 14 / 28
    assert plan["rate"] == 4 / 14


def test_a_forecast_goes_on_with_the_daily_visitors_since_the_start(database):
    begun = datetime.now(UTC) - timedelta(days=10)
    with database.transaction():
        start(database, SHOP, share=20, salt="a", begins=begun.isoformat())
    store(
        database,
        *(visit(f"v{number}", days_ago=3 + number % 6, adds=number % 4 == 0)
          for number in range(480)),
    )  # fmt: skip
    experiment = shown(database)["experiment"]
    arms = (experiment["widget"], experiment["holdout"])
    rate = experiment["holdout"]["added"] / experiment["holdout"]["visitors"]
    assert experiment["holdout"]["added"] >= 20
    assert sum(arm["visitors"] for arm in arms) == 480
    by = date.fromisoformat(experiment["forecast"]["by"])
    then = 48 * ((by - begun.date()).days - 1)  # the last day's have not had their window
    assert experiment["forecast"]["difference"] == pytest.approx(
        detectable(then, 0.2, rate), rel=0.001
    )
