import io
import struct
import threading
import time
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from app.counts import counting, rollups
from app.counts.measures import ALL, COUNTED, Measure
from app.counts.period import EPOCH, find_shop
from app.counts.rollups import mark_dirty
from app.merchant.commands import report
from app.store.connections import connect
from tests.calls import SECRET, SHOP, body
from tests.counts.histories import NOON, count_all, store, visit
from tests.processes.running import as_url

DAY = NOON.date().isoformat()


@pytest.fixture
def flask(settings, database, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", as_url(settings.database_url))
    monkeypatch.setenv("REDIS_URL", settings.redis_url)
    monkeypatch.setenv("SHOPIFY_API_SECRET", SECRET)
    store(database, visit("a", 7), visit("b", 2), visit("c", 1))
    return lambda *words: CliRunner().invoke(report, words)


def test_the_terminal_shows_what_the_page_shows(flask, database):
    count_all(database)
    shown = flask("funnel", "--shop", SHOP, "--from", DAY, "--to", DAY)
    assert shown.exit_code == 0, shown.output
    lines = [" ".join(line.split()) for line in shown.output.splitlines()]
    assert "Product page viewed 3 100.0% – 1 1 min" in lines
    assert "Button clicked 2 66.7% 66.7% 1 1 min" in lines
    assert "Added in the widget 1 33.3% 100.0% – –" in lines
    assert "The median of 1 visitor is 6 min; 0.0% took less than 5 min." in lines
    assert "2 min to 5 min 1 100.0%" in lines


def test_the_terminal_tells_what_is_not_in_the_numbers(flask, caller, database):
    caller.post(body())
    waiting = flask("funnel", "--shop", SHOP).output
    assert "all shops: 1 to be stored" in waiting
    assert "3 batches pending" in waiting
    mark_dirty(database, find_shop(database, SHOP).id)
    assert "Recalculating. Showing the previous numbers." in flask("funnel", "--shop", SHOP).output


def packed_page_view():
    day = (NOON.date() - EPOCH).days
    return struct.pack(">iBHi", ALL, Measure.PAGE_VIEWED, day, 1)


def test_the_check_finds_a_number_that_is_wrong_and_a_rebuild_mends_it(flask, database):
    check = ("check", "--shop", SHOP, "--from", DAY, "--to", DAY)
    assert flask(*check).exit_code == 0
    count_all(database)
    database.execute(f"SET genlook.definition = {COUNTED}")  # or it would be counted again
    database.execute(
        "UPDATE report_counts SET cells = cells || %s WHERE dimension = 0", [packed_page_view()]
    )
    wrong = flask(*check)
    assert wrong.exit_code == 1
    assert "funnel: the report has" in wrong.output
    assert "Shops recalculated: 1." in flask("rebuild", "--shop", SHOP).output
    assert flask(*check).exit_code == 0


def test_the_check_is_right_beside_a_worker_that_counts(flask, database, database_url):
    counts_now, has_counted = threading.Event(), threading.Event()
    shop_id = find_shop(database, SHOP).id

    def count_slowly():
        with connect(database_url, "worker") as worker, worker.transaction():
            rollups.try_lock(worker, shop_id)
            counts_now.set()
            time.sleep(0.5)
            counting.count_announced(worker, [shop_id])
            has_counted.set()

    working = threading.Thread(target=count_slowly)
    working.start()
    counts_now.wait()
    checked = flask("check", "--shop", SHOP, "--from", DAY, "--to", DAY)
    working.join()
    assert checked.output == "8 groups of numbers are equal.\n"
    assert has_counted.is_set()


@pytest.mark.parametrize(
    "words",
    [
        ("funnel", "--shop", "unknown.myshopify.com"),
        ("rebuild", "--shop", "unknown.myshopify.com"),
        ("funnel", "--shop", SHOP, "--from", "2026-03-02", "--to", "2026-03-01"),
    ],
)
def test_what_cannot_be_shown_is_one_line(flask, words):
    result = flask(*words)
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_all_shops_are_recalculated_only_after_a_yes_on_a_terminal(flask, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "app.merchant.commands.sys", SimpleNamespace(stdin=Terminal()), raising=False
    )
    monkeypatch.setattr("click.confirm", lambda *words, **_: asked.append(words))
    result = flask("rebuild")
    assert "All 1 shops are to be recalculated." in result.output
    assert len(asked) == 1
    flask("rebuild", "--yes")
    flask("rebuild", "--shop", SHOP)
    monkeypatch.undo()
    assert len(asked) == 1


def test_a_script_is_not_asked_before_all_shops_are_recalculated(flask):
    result = flask("rebuild")
    assert result.exit_code == 0
    assert "Go on?" not in result.output
