"""Groups of every kind compared, with those who had enough, by the same numbers."""

import pytest

from app.counts.period import Period, find_shop
from app.merchant.groups import View
from app.merchant.reports import report
from tests.calls import SHOP
from tests.counts.histories import CART_ADD, FUNNEL, NOON, PAGE, batch, count_all, store, visit

DAY = Period(NOON.date(), NOON.date())
# Of each group: who tried and added, tried and did not, did not try and added, did neither.
NUMBERS = {"one": (12, 10, 10, 14), "two": (11, 13, 12, 10), "few": (10, 10, 9, 10)}
GROUPS = {
    "product": lambda name: {"product_id": name},
    "version": lambda name: {"lib_version": name},
    "device": lambda name: {"device_class": name},
    "language": lambda name: {"rest": b'{"$browser_language":"%b"}' % name.encode()},
}


@pytest.fixture
def groups(database):
    batches = []
    for name, (tried_added, tried, added, neither) in NUMBERS.items():
        columns = {key: value for of in GROUPS.values() for key, value in of(name).items()}
        kinds = (
            [FUNNEL] * tried_added
            + [FUNNEL[:5]] * tried
            + [(PAGE, CART_ADD)] * added
            + [(PAGE,)] * neither
        )
        batches += [
            batch(f"{name}-{number}", *((event, n) for n, event in enumerate(kind)), **columns)
            for number, kind in enumerate(kinds)
        ]
    store(database, *batches, visit("alone", 1))
    count_all(database)
    return find_shop(database, SHOP)


@pytest.mark.parametrize("by", GROUPS)
def test_of_each_kind_those_with_enough_are_compared(database, groups, by):
    shown = report(database, groups, DAY, View(by, show="comparison"))["breakdown"]
    assert (shown["by"], shown["groups"], shown["folded"]) == (by, [], None)
    assert shown["comparison"]["of"] == 4  # and who has sent none
    found = {one["value"]: one for one in shown["comparison"]["groups"]}
    assert list(found) == ["two", "one"]  # the more who tried, the sooner
    for name, one in found.items():
        tried_added, tried, added, neither = NUMBERS[name]
        assert one["tried"] == {
            "visitors": tried_added + tried, "added": tried_added,
            "rate": tried_added / (tried_added + tried),
        }  # fmt: skip
        assert one["others"] == {
            "visitors": added + neither, "added": added, "rate": added / (added + neither)
        }  # fmt: skip
        difference = tried_added / (tried_added + tried) - added / (added + neither)
        assert one["difference"] == pytest.approx(difference)
        assert one["low"] < one["difference"] < one["high"]
