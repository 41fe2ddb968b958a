"""What a process remembers is bounded, and what it has forgotten it finds out again."""

import sys
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta

import pytest

from app.counts import calendar, cut, stored
from app.counts.measures import Dimension
from app.counts.period import find_shop
from app.counts.stored import Numbering
from app.store import contexts, rejected
from app.store.contexts import Contexts
from app.store.rejected import Rejections
from app.store.writer import Writer
from app.tracker.experiment import Parts
from tests.calls import SHOP
from tests.counts.histories import NOON, count_all, store, visit
from tests.store.test_rejected import batch


def test_numbers_of_shops(database):
    """Once known, and committed, a shop is not asked for again."""
    asked = []
    connection = database

    class Counting:
        def __getattr__(self, name):
            return getattr(connection, name)

        def execute(self, statement, *given, **options):
            asked.append(str(statement))
            return connection.execute(statement, *given, **options)

    writer = Writer(statement_timeout=10_000)

    def asks(*batches):
        asked.clear()
        writer.write(Counting(), batches)
        return sum("FROM shops" in one or "INTO shops" in one for one in asked)

    with database.transaction(force_rollback=True):
        assert asks(visit("a", 1)) == 2
    assert asks(visit("a", 1)) == 2  # it was rolled back with its shop
    assert asks(visit("b", 1)) == 0
    assert asks(visit("c", 1), visit("c", 1, shop="b.myshopify.com")) == 2
    assert asks(visit("d", 1, shop="b.myshopify.com")) == 0
    [(batches,)] = database.execute(
        "SELECT count(*) FROM stored_batches JOIN shops ON shops.id = shop_id"
    )
    assert batches == 5


@pytest.mark.parametrize("is_new", [True, False])
def test_days_of_a_time_zone(database, monkeypatch, is_new):
    monkeypatch.setattr(calendar, "_MOST_KNOWN", 3)
    monkeypatch.setattr(calendar, "_known", {})
    hour = 60 * 60 * 1_000_000
    begin = 1_700_000_000 * 1_000_000
    for number in range(20):
        at = begin + (number if is_new else number % 2) * 12 * hour
        [(asked, day)] = calendar.days(database, "Pacific/Auckland", [at]).items()
        local = datetime.fromtimestamp(at / 1e6, UTC) + timedelta(hours=13)  # in summer
        assert (asked, day) == (at, (local.date() - datetime(1970, 1, 1, tzinfo=UTC).date()).days)
        assert len(calendar._known) <= 4
    assert len(calendar._known) > 1


def test_numbers_of_values(database, monkeypatch):
    monkeypatch.setattr(stored, "_MOST_KNOWN", 8)
    numbering = Numbering(database)
    database.execute("INSERT INTO shops (domain) VALUES (%s)", [SHOP])
    shop_id = find_shop(database, SHOP).id
    with database.transaction():
        first = numbering.of({shop_id: {("p0", "", "", "")}})
        for number in range(20):
            numbering.of({shop_id: {(f"p{number}", "", "", "")}})
            assert len(numbering._known) <= 9 + 4
        assert numbering.of({shop_id: {("p0", "", "", "")}}) == first
    found = database.execute(
        "SELECT count(*) FROM report_values WHERE dimension = %s", [Dimension.PRODUCT]
    ).fetchone()
    assert found == (20,)


def test_what_the_visitors_of_the_rest_of_a_day_add(database, monkeypatch):
    monkeypatch.setattr(cut, "_MANY", 0)
    monkeypatch.setattr(cut, "_MOST_REMEMBERED", 3)
    monkeypatch.setattr(cut, "_known", {})
    store(database, *(visit(f"v{number}", 2, minutes=number) for number in range(3)))
    count_all(database)
    shop = find_shop(database, SHOP)

    def after(minutes, days=0):
        day = NOON.date()
        return dict(
            cut.of_visitors_until(
                database,
                shop,
                day - timedelta(days=days),
                day,
                NOON + timedelta(minutes=minutes),
                None,
            )
        )

    first = after(0)
    for days in range(20):
        after(0, days)
        assert len(cut._known) <= 4
        assert days != 2 or len(cut._known) == 3
    assert after(0) == first
    assert after(-1) != first  # an earlier moment is not read off a later one
    monkeypatch.setattr(cut, "_REMEMBERED", -1.0)
    assert after(0) == first


def test_few_visitors_are_not_remembered_at_all(database, monkeypatch):
    monkeypatch.setattr(cut, "_MANY", 3)
    monkeypatch.setattr(cut, "_known", {})
    store(database, *(visit(f"v{number}", 2) for number in range(3)))
    count_all(database)
    shop = find_shop(database, SHOP)
    for more in (0, 1):
        cut.of_visitors_until(
            database, shop, NOON.date(), NOON.date(), NOON - timedelta(hours=1), None
        )
        assert len(cut._known) == more
        store(database, visit("another", 2))


def test_contexts_of_batches(database, monkeypatch):
    monkeypatch.setattr(contexts, "_MOST_KNOWN", 4)
    known = Contexts()
    _write_pages(known, database, 10)
    assert len(known._known) <= 4 + 2
    monkeypatch.setattr(contexts, "_MOST_READY", 300)
    _write_pages(known, database, 10)
    assert known._ready_bytes == sum(len(rest) for _, _, rest in known._ready)
    assert known._ready_bytes <= 300 + 200
    known.rows(database, 2, [])  # another generation
    assert (known._known, known._ready, known._ready_bytes) == (set(), {}, 0)


def test_what_is_known_is_not_written_again_and_what_was_forgotten_is(database):
    known = Contexts()
    _write_pages(known, database, 1)
    stored_parts = "SELECT count(*) FROM contexts"
    assert database.execute(stored_parts).fetchone() == (2,)
    assert len(known._known) == 2
    assert len(known._ready) == 1
    with database.transaction(force_rollback=True):
        database.execute("DELETE FROM contexts")
        _write_pages(known, database, 1)
        assert database.execute(stored_parts).fetchone() == (0,)
        known.rows(database, 2, [])
        _write_pages(known, database, 1, generation=2)
        assert database.execute(stored_parts).fetchone() == (2,)


def test_what_was_written_under_another_generation_is_not_remembered(database):
    known = Contexts()
    rows = known.rows(database, 1, [(1, 1, _line(0))])
    known.rows(database, 2, [])
    known.remember(1, rows)
    assert (known._known, known._ready) == (set(), {})


def _line(number):
    return visit("v", 1, current_url=f"https://yourstore.com/{number}").line


def _write_pages(known, database, pages, generation=1):
    for number in range(pages):
        with database.transaction():
            rows = known.rows(database, generation, [(1, number, _line(number))])
        known.remember(generation, rows)


def test_what_is_kept_of_shops_today(database, monkeypatch):
    monkeypatch.setattr(rejected, "_MOST_SHOPS", 3)
    rejections = Rejections()
    for number in range(10):
        rejections.write(database, [batch("A", shop=f"s{number}.myshopify.com")])
        assert len(rejections._days) <= 4
    assert database.execute("SELECT count(*) FROM rejected_events").fetchone() == (10,)


def test_experiments_of_shops(database, monkeypatch):
    monkeypatch.setattr(sys.modules[Parts.__module__], "_MOST", 3)
    parts = Parts()
    for number in range(10):
        part = parts.of(f"s{number}.myshopify.com", lambda: nullcontext(database))
        assert (part.script, part.is_known) == (b"", True)
        assert len(parts._known) <= 3
    asked = []

    def connect():
        asked.append(1)
        return nullcontext(database)

    for _ in range(2):
        parts.of("s9.myshopify.com", connect)
        parts.of("s0.myshopify.com", connect)
    assert asked == [1]  # the last is known, the first was forgotten
