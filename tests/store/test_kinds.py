"""Names of events, and properties that only repeat the product, are stored as a number."""

from datetime import UTC, datetime, timedelta

import pytest

from app.batch.batch import Batch, Context, Event
from app.store import migrate
from app.store.connections import connect
from app.store.kinds import KINDS
from app.store.writer import Writer
from app.tracking.schemas import CATALOGUE

NOW = datetime.now(UTC)
PRODUCT = "gid://shopify/Product/456"
SENT = [
    ("widget:button_click", PRODUCT, b"{}"),
    ("product_page:page_view", PRODUCT, b'{"product_id":"gid://shopify/Product/456"}'),
    ("product_page:page_view", "é", '{"product_id":"é"}'.encode()),
    ("product_page:page_view", None, b'{"product_id":"\\\\N"}'),
    ("product_page:page_view", r"\N", rb'{"product_id":"\\N"}'),
    ("product_page:page_view", 'a"b', rb'{"product_id":"a\"b"}'),
    ("product_page:page_view", PRODUCT, b'{"product_id":"another"}'),
    ("product_page:page_view", PRODUCT, b'{"product_id":"gid://shopify/Product/456","n":1}'),
    ("widget:email_collected", PRODUCT, b'{"email":"ann@example.com"}'),
    ("own:event", PRODUCT, b'{"product_id":"gid://shopify/Product/456"}'),
]


def batches():
    for number, (name, product, properties) in enumerate(SENT):
        columns = {} if product is None else {"product_id": product}
        yield Batch.build(
            shop="a-shop.myshopify.com",
            customer_id=None,
            received_at=NOW,
            context=Context(columns),
            events=[Event(name, f"id-{number}", NOW, properties, b"{}")],
            rejected=[],
        )


@pytest.fixture
def from_when(database):
    """Sets the time from which kinds are written; the migration's again afterwards."""
    [before] = database.execute("SELECT kinds_since()").fetchone()

    def from_when(at):
        database.execute(
            "CREATE OR REPLACE FUNCTION kinds_since() RETURNS timestamptz LANGUAGE sql STABLE"
            f" RETURN '{at}'::timestamptz"
        )

    yield from_when
    from_when(before)


def shown(database):
    return database.execute("SELECT * FROM tracked_events ORDER BY insert_id").fetchall()


def test_events_read_alike_with_a_kind_and_without(database, from_when):
    from_when(NOW + timedelta(days=7))
    Writer(statement_timeout=10_000).write(database, list(batches()))
    assert database.execute("SELECT count(kind) FROM events").fetchone() == (0,)
    as_before = shown(database)
    database.execute("DELETE FROM events; DELETE FROM stored_batches")
    from_when(NOW - timedelta(days=1))
    Writer(statement_timeout=10_000).write(database, list(batches()))
    assert shown(database) == as_before
    kinds = database.execute("SELECT kind FROM events ORDER BY insert_id").fetchall()
    assert [kind for (kind,) in kinds] == [1, 109, 109, 9, 9, 9, 9, 9, None, None]


def test_repeats_are_told_whichever_form_was_first(database, from_when):
    from_when(NOW + timedelta(days=7))
    assert Writer(statement_timeout=10_000).write(database, list(batches())) == len(SENT)
    from_when(NOW - timedelta(days=1))
    assert Writer(statement_timeout=10_000).write(database, list(batches())) == 0


def test_the_catalogue_has_numbers_that_postgres_knows(database):
    assert {name.decode() for name in KINDS} == CATALOGUE - {"widget:email_collected"}
    for name, kind in KINDS.items():
        both = database.execute(
            "SELECT event_name(%(kind)s::smallint), event_name((100 + %(kind)s)::smallint)",
            {"kind": kind},
        ).fetchone()
        assert both == (name.decode(), name.decode())


def test_where_events_are_stored_the_old_form_is_written_for_a_week(
    empty_database_url, monkeypatch
):
    """So that one can go back to the release before, which reads names alone."""
    read = migrate.status
    with connect(empty_database_url, "tests") as connection:
        monkeypatch.setattr(
            migrate, "status", lambda c: [one for one in read(c) if one.number < 38]
        )
        migrate.upgrade(connection)
        connection.execute(
            "INSERT INTO stored_batches (id, received_at, shop_id, context)"
            " VALUES (1, now(), 1, '{}')"
        )
        monkeypatch.undo()
        migrate.upgrade(connection)
        [left] = connection.execute("SELECT kinds_since() - now()").fetchone()
        assert timedelta(days=6, hours=23) < left < timedelta(days=7)
        Writer(statement_timeout=10_000).write(connection, list(batches()))
        assert connection.execute("SELECT count(kind) FROM events").fetchone() == (0,)
