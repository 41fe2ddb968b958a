"""What batches share is stored once, reads as if it were not, and goes with the last of them."""

import threading
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from app.batch.batch import BATCH_COLUMNS, Batch, Context, Event
from app.store import contexts, unused_contexts, walks
from app.store.batches import delete_listed
from app.store.connections import connect
from app.store.contexts import part_of
from app.store.unused_contexts import delete_unused
from app.store.writer import Writer
from app.store.writers import WritersBusy
from app.worker.upkeep import Retention, maintain
from tests.processes.running import wait_until

NOW = datetime.now(UTC)
SHOP = "a-shop.myshopify.com"
CLIENT = "550e8400-e29b-41d4-a716-446655440000"
BROWSER = b'"$raw_user_agent":"Mozilla/5.0","$screen_width":390'
DAYS = Retention(events=395, rejected=30, user_agents=30)


def batch(id_, *, rest=b"{%b}" % BROWSER, shop=SHOP, customer=None, at=NOW, **columns):
    return Batch.build(
        shop=shop,
        customer_id=customer,
        received_at=at,
        context=Context(columns, rest),
        events=[Event("widget:button_click", id_, NOW, b"{}", b"{}")],
        rejected=[],
    )


@pytest.fixture
def writer():
    return Writer(statement_timeout=10_000)


def number_of(database, table):
    return database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


def shown(database):
    return database.execute("SELECT * FROM tracked_events ORDER BY insert_id").fetchall()


def orphans(database):
    return database.execute(
        "SELECT shop_id, id FROM contexts EXCEPT SELECT shop_id, unnest(ARRAY[browser_part,"
        " page_part]) FROM stored_batches"
    ).fetchall()


VARIOUS = [
    batch("nothing", rest=b"{}"),
    batch("all", customer="7", client_id=CLIENT, session_id="s 1", pageview_id=CLIENT,
          product_id="gid://shopify/Product/1", variant_id="2", lib_version="3", browser="Safari",
          current_url="https://a/b?c=\\d", device_class="mobile", os="iOS"),
    batch("capitals", client_id=CLIENT.upper(), session_id="", pageview_id="a\tb\\n\n"),
    batch("json", rest=r'{"a":"\\u0000 \"é\" \\","b":[1.50,-0.0,1e22,18446744073709551615,null],'
          r'"$timezone":{"not":"a text"},"n\\t":{}}'.encode()),
    batch("deep", rest=b'{"a":%b1%b}' % (b"[" * 300, b"]" * 300)),
]  # fmt: skip


def copy_as_the_release_before(connection, batches):
    """Its statements, which know of no contexts."""
    with connection.transaction():
        columns = ", ".join(BATCH_COLUMNS)
        with connection.cursor().copy(f"COPY batches (shop_id, id, {columns}) FROM STDIN") as copy:
            for number, one in enumerate(batches):
                copy.write(b"1\t%d\t%b\n" % (1_000 + number, one.line))
        with connection.cursor().copy(
            "COPY events (shop_id, occurred_at, insert_key, sent_timestamp, event, insert_id,"
            " properties, extra, batch_id) FROM STDIN"
        ) as copy:
            for number, one in enumerate(batches):
                copy.write(b"1\t%b\t%d\n" % (one.events[0], 1_000 + number))


@pytest.mark.one_postgres
def test_it_reads_as_what_the_release_before_has_written(database, writer):
    writer.write(database, VARIOUS)
    assert number_of(database, "stored_batches WHERE browser_part IS NOT NULL") == 4  # not the deep
    shared, shop_id = shown(database), database.execute("SELECT id FROM shops").fetchone()[0]
    whole = database.execute("SELECT * FROM batches ORDER BY id").fetchall()
    database.execute("DELETE FROM events; DELETE FROM batches")
    database.execute("UPDATE shops SET id = DEFAULT WHERE id <> 1")
    copy_as_the_release_before(database, VARIOUS)
    assert shop_id == 1
    assert shown(database) == shared
    again = database.execute("SELECT * FROM batches ORDER BY id").fetchall()
    assert [row[1:-1] for row in again] == [row[1:-1] for row in whole]
    assert [column.name for column in database.execute("SELECT * FROM batches").description] == [
        "id", "received_at", "shop_id", *BATCH_COLUMNS[1:], "ctid",
    ]  # fmt: skip


def delete(database, condition="true"):
    """The batches and their events."""
    rows = database.execute(f"SELECT shop_id, id FROM batches WHERE {condition}").fetchall()
    for shop_id, id_ in rows:
        database.execute("DELETE FROM events WHERE shop_id = %s AND batch_id = %s", [shop_id, id_])
        delete_listed(database, shop_id, [id_])


@pytest.mark.one_postgres
def test_a_release_before_notes_contexts_too(database, writer):
    writer.write(database, [batch("a", current_url="https://a/"), batch("b")])
    database.execute("DELETE FROM batches WHERE current_url IS NOT NULL")
    assert delete_unused(database) == 1
    assert orphans(database) == []


def test_what_pages_and_browsers_share_is_stored_once(database, writer):
    for number in range(30):
        page = f"https://a/{number % 3}"
        writer.write(database, [batch(f"id-{number}", client_id=CLIENT, current_url=page)])
    Writer(statement_timeout=10_000).write(database, [batch("of another process", client_id="x")])
    assert number_of(database, "batches") == 31
    assert number_of(database, "contexts") == 1 + 4
    [shown] = database.execute("SELECT DISTINCT context FROM batches").fetchone()
    assert shown == {"$raw_user_agent": "Mozilla/5.0", "$screen_width": 390}


def test_shops_and_months_share_nothing(database, writer):
    last = NOW.replace(day=1) - timedelta(days=1)
    writer.write(database, [batch("a"), batch("b", shop="b.myshopify.com"), batch("c", at=last)])
    assert number_of(database, "contexts") == 6


def test_a_context_goes_with_its_last_batch(database, writer):
    writer.write(database, [batch("a", current_url="https://a/?email=ann"), batch("b")])
    delete(database, "current_url IS NOT NULL")
    assert delete_unused(database) == 1
    assert orphans(database) == []
    assert number_of(database, "contexts") == 2
    delete(database)
    assert (delete_unused(database), number_of(database, "contexts")) == (2, 0)
    assert number_of(database, "doubted_contexts") == 0


def test_a_writer_that_knew_a_deleted_context_writes_it_again(database, writer):
    writer.write(database, [batch("a", current_url="https://a/")])
    delete(database)
    assert delete_unused(database) == 2
    writer.write(database, [batch("a", current_url="https://a/")])
    [row] = shown(database)
    assert row[-1]["$current_url"] == "https://a/"
    assert row[-1]["$screen_width"] == 390


def test_what_is_written_while_it_is_looked_for_keeps_its_context(
    database_url, database, writer, monkeypatch
):
    """Right behind the question which contexts are unused."""
    writer.write(database, [batch("a", current_url="https://a/")])
    delete(database)
    delete_parts = unused_contexts._delete

    def write_first(connection, values):
        with connect(database_url, "tests") as other:
            writer.write(other, [batch("b", current_url="https://a/")])
        return delete_parts(connection, values)

    monkeypatch.setattr(unused_contexts, "_delete", write_first)
    assert delete_unused(database) == 0
    assert shown(database)[0][-1]["$current_url"] == "https://a/"


def test_contexts_of_writers_at_work_are_not_deleted(database_url, database, writer, monkeypatch):
    monkeypatch.setattr(unused_contexts, "_LOCK_TIMEOUT", "10ms")
    writer.write(database, [batch("a")])
    delete(database)
    with connect(database_url, "tests") as other, other.transaction():
        writer.write(other, [batch("b")])
        with pytest.raises(WritersBusy):
            delete_unused(database)
    assert delete_unused(database) == 0
    assert shown(database)[0][-1]["$screen_width"] == 390


def test_contexts_that_were_rolled_back_are_written_again(database, writer):
    with database.transaction(force_rollback=True):
        writer.write(database, [batch("a")])
    broken = batch("b")
    broken.events = [b"not a line"]
    with pytest.raises(psycopg.DataError):
        writer.write(database, [batch("a"), broken])
    assert number_of(database, "contexts") == 0
    writer.write(database, [batch("a")])
    assert shown(database)[0][-1]["$screen_width"] == 390


def test_a_batch_whose_context_would_have_anothers_id_keeps_it_in_its_row(database, writer):
    writer.write(database, [batch("before")])
    database.execute("UPDATE contexts SET digest = digest + 1, context = '{\"other\": 1}'")
    Writer(statement_timeout=10_000).write(database, [batch("a")])
    assert shown(database)[0][-1] == {"$raw_user_agent": "Mozilla/5.0", "$screen_width": 390}


@pytest.mark.one_postgres  # its triggers
def test_writers_of_the_same_new_contexts_do_not_lock_each_other_out(database_url, database):
    """Each context takes a while, so both are at it at once."""
    database.execute(
        "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_sleep(0.02); RETURN NEW; END $$;"
        "CREATE TRIGGER dawdle BEFORE INSERT ON contexts FOR EACH ROW EXECUTE FUNCTION dawdle()"
    )
    stored = []

    def write(name, order):
        pages = [batch(f"{name}{n}", current_url=f"https://a/{n}") for n in range(8)]
        with connect(database_url, "tests") as connection:
            stored.append(Writer(statement_timeout=10_000).write(connection, pages[::order]))

    try:
        threads = [threading.Thread(target=write, args=args) for args in (("a", 1), ("b", -1))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        database.execute("DROP FUNCTION dawdle CASCADE")
    assert stored == [8, 8]
    assert number_of(database, "contexts") == 9


def test_events_that_were_stored_before_leave_no_context(database, writer):
    writer.write(database, [batch("a", current_url="https://a/")])
    writer.write(database, [batch("a", current_url="https://another/")])
    assert orphans(database) == []


def test_retention_leaves_no_context_without_batches(database, writer):
    old = NOW - timedelta(days=400)
    writer.write(database, [batch("old", at=old, current_url="https://a/?email=ann"), batch("new")])
    database.execute("UPDATE events SET occurred_at = %s WHERE insert_id = 'old'", [old])
    done = maintain(database, DAYS, lambda *_: None)
    assert (done["batches deleted"], done["contexts deleted"]) == (1, 2)
    assert [row[5] for row in shown(database)] == ["new"]
    assert orphans(database) == []


@pytest.mark.parametrize("has_same_id", [False, True])
def test_raw_user_agents_go_from_old_batches_alone(database, writer, monkeypatch, has_same_id):
    monkeypatch.setattr(walks, "STEP_ROWS", 2)
    days = Retention(events=10_000, rejected=30, user_agents=3)
    old = (NOW - timedelta(days=4)).replace(hour=12)
    month = f"{old:%Y-%m}"
    for number in range(5):
        at = old - timedelta(minutes=number)
        writer.write(database, [batch(f"old-{number}", at=at, browser="Safari")])
    writer.write(database, [batch("new", browser="Safari")])
    if has_same_id:
        part = part_of(month, "browser", {"browser": "Safari", "context": {"$screen_width": 390}})
        [shop_id] = database.execute("SELECT id FROM shops").fetchone()
        contexts.insert(database, [(shop_id, part._replace(digest=1))])
    assert maintain(database, days, lambda *_: None)["user agents removed"] == 5
    rows = {row[5]: row[-1] for row in shown(database)}
    assert rows.pop("new") == {"$raw_user_agent": "Mozilla/5.0", "$screen_width": 390}
    assert list(rows.values()) == [{"$screen_width": 390}] * 5
    assert {browser for (browser,) in database.execute("SELECT browser FROM batches")} == {"Safari"}
    assert number_of(database, "contexts WHERE context ? '$raw_user_agent'") == 1
    assert maintain(database, days, lambda *_: None)["user agents removed"] == 0
    wait_until(lambda: has_same_id or orphans(database) == [])


def test_a_part_has_the_same_id_in_every_release():
    """Or a new one would store all parts again, beside those of the one before."""
    fields = {"lib_version": "2.1", "context": {"b": 1, "a": [True, None]}}
    assert contexts.part_of("2026-03", "browser", fields)[:2] == (-2103536508, -615392996776577019)
    assert contexts.part_of("2026-03", "page", fields)[:2] == (655809993, 5423041998911383179)
    turned = {"context": {"a": [True, None], "b": 1}, "lib_version": "2.1"}
    assert contexts.part_of("2026-03", "browser", turned)[:2] == (-2103536508, -615392996776577019)
    assert contexts.part_of("2026-04", "browser", fields)[0] != -2103536508
