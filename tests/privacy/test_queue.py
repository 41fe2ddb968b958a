"""The queue of privacy_requests: who takes which request, and when again."""

from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from psycopg import OperationalError, sql

from app.privacy import requests
from app.privacy.subject import Subject
from app.privacy.waiting import Journals
from app.privacy.work import Work
from app.store.connections import connect
from tests.calls import SHOP


@pytest.fixture
def asked(database):
    """Puts a request into the queue, due for so long; returns its id."""

    def asked(kind=requests.ERASE_CUSTOMER, *, shop=SHOP, due=timedelta(0), **who):
        id_ = requests.add(
            database, kind, shop, Subject.build(**who), source="test",
            requested_at=datetime.now(UTC),
        )  # fmt: skip
        database.execute(
            "UPDATE privacy_requests SET due_at = now() - %s WHERE id = %s", [due, id_]
        )
        return id_

    return asked


def column(database, id_, name):
    row = database.execute(f"SELECT {name} FROM privacy_requests WHERE id = %s", [id_])
    return row.fetchone()[0]


def test_two_workers_take_two_requests_and_do_not_wait_for_each_other(
    asked, database, database_url
):
    first, second = asked(due=timedelta(minutes=2)), asked(due=timedelta(minutes=1))
    with connect(database_url, "tests") as other, other.transaction():
        assert requests.take_due(other).id == first
        database.execute("SET statement_timeout = 2000")
        try:
            assert requests.take_due(database).id == second
            assert requests.take_due(database) is None
        finally:
            database.execute("RESET statement_timeout")


def test_the_one_that_has_been_due_longest_comes_first(asked, database):
    for minutes in (2, 9, 5):
        asked(due=timedelta(minutes=minutes))
    assert [requests.take_due(database).id for _ in range(3)] == [2, 3, 1]


def test_what_is_taken_is_nobody_elses_until_its_lease_is_over(asked, database):
    id_ = asked()
    requests.take_due(database)
    assert requests.take_due(database) is None
    assert requests.take_due(database, id_) is None
    lease = column(database, id_, "extract(epoch FROM due_at - now())")
    assert 25 < lease <= 30


def test_one_is_taken_by_its_id_before_those_that_have_waited_longer(asked, database):
    asked(due=timedelta(minutes=5))
    id_ = asked()
    assert requests.take_due(database, id_).id == id_


def test_it_counts_from_when_it_was_taken_first(asked, database):
    id_ = asked()
    requests.take_due(database)
    long_ago = datetime.now(UTC) - timedelta(days=1)
    database.execute("UPDATE privacy_requests SET due_at = now(), started_at = %s", [long_ago])
    assert requests.take_due(database, id_).started_at == long_ago


def test_a_lease_is_renewed(asked, database):
    id_, other = asked(), asked()
    request = requests.take_due(database, id_)
    database.execute("UPDATE privacy_requests SET due_at = now()")
    requests.renew(database, request)
    assert [requests.take_due(database).id, requests.take_due(database)] == [other, None]


def test_what_fails_waits_ever_longer_up_to_ten_minutes(asked, database):
    id_, other = asked(), asked()
    request = requests.take_due(database, id_)
    pauses = []
    for _ in range(13):
        requests.failed(database, request, "away", heals=True)
        pauses.append(round(column(database, id_, "extract(epoch FROM due_at - now())")))
    assert pauses[:4] == [1, 2, 4, 8]
    assert pauses[-3:] == [600, 600, 600]
    assert column(database, other, "attempts") == 0
    requests.go_on_after(database, request, timedelta(0))
    assert column(database, id_, "attempts") == 0
    assert requests.take_due(database).id == other  # not due sooner than the other


def test_it_is_complete_once(asked, database):
    id_, other = asked(customer_id="7"), asked(customer_id="8")
    request = requests.take_due(database, id_)
    assert requests.complete(database, request, "first")
    assert not requests.complete(database, request, "second")
    assert column(database, id_, "outcome") == "first"
    assert column(database, id_, "subject") is None
    assert column(database, other, "subject") is not None
    assert column(database, other, "outcome") is None


def test_what_is_deleted_is_added_up_for_this_request_alone(asked, database):
    id_, other = asked(), asked()
    request = requests.take_due(database, id_)
    for _ in range(2):
        requests.count(database, request, requests.Counter(events=2, batches=0))
    assert column(database, id_, "erased") == {"events": 4}
    assert not column(database, other, "erased")


def test_a_closed_one_is_never_due_and_holds_no_trace(asked, database):
    id_, other = asked(customer_id="7"), asked(customer_id="8")
    request = requests.take_due(database, id_)
    requests.remember(database, request, request.who, request.who.fingerprints())
    assert column(database, id_, "traces")
    requests.failed(database, request, "away", heals=True)
    requests.close(database, request)
    for name, value in (("due_at", None), ("traces", None), ("attempts", 0)):
        assert column(database, id_, name) == value
    assert requests.find(database, id_=id_)[0].state == requests.CLOSED
    assert column(database, other, "due_at") is not None


def test_each_look_goes_on_where_the_last_one_ended(asked, database):
    id_, other = asked(), asked()
    request = requests.take_due(database, id_)
    requests.searched(database, request, 5, 7)
    first = request.searched_at
    requests.searched(database, request, 8, 9)
    [found] = requests.find(database, id_=id_)
    assert (found.batches_to, found.rejected_to, found.searched_at) == (8, 9, first)
    assert found.state == requests.SETTLING
    assert column(database, other, "searched_at") is None


def test_an_export_goes_when_it_has_expired_and_no_sooner(asked, database):
    ids = [asked(requests.EXPORT_CUSTOMER, customer_id=str(n)) for n in range(2)]
    for id_ in ids:
        request = requests.take_due(database, id_)
        requests.complete(database, request, requests.DONE, {"events": []})
        requests.close(database, request)
    database.execute("UPDATE privacy_requests SET expires_at = now() WHERE id = %s", [ids[0]])
    assert [found.is_exported for found in requests.find(database)] == [True, False]
    assert [requests.delete_expired(database), requests.delete_expired(database)] == [1, 0]
    assert column(database, ids[0], "export") is None
    assert column(database, ids[0], "subject") is None
    assert column(database, ids[1], "export") == {"events": []}


def test_they_are_found_by_shop_the_newest_first(asked, database):
    asked(), asked(shop="b.myshopify.com"), asked()
    assert [found.id for found in requests.find(database)] == [3, 2, 1]
    assert [found.id for found in requests.find(database, shop=SHOP)] == [3, 1]
    assert [found.id for found in requests.find(database, id_=2)] == [2]


def test_an_erasure_takes_exports_by_each_thing_that_names_the_shopper(asked, database):
    export = requests.EXPORT_CUSTOMER
    hers = [
        asked(export, customer_id="7"),
        asked(export, client_ids=["her-browser"]),
        asked(export, emails=["ann@example.com"]),
    ]
    asked(export, customer_id="8", client_ids=["his"], emails=["ben@example.com"])
    asked(export, shop="b.myshopify.com", customer_id="7")
    asked(requests.ERASE_CUSTOMER, customer_id="7")
    who = Subject.build(customer_id="7", client_ids=["her-browser"], emails=["ann@example.com"])
    assert requests.delete_exports(database, SHOP, who.fingerprints()) == 0  # none was made yet
    closed = [found.id for found in requests.find(database) if found.outcome == requests.ERASED]
    assert sorted(closed) == hers
    assert requests.delete_exports(database, SHOP, None) == 0
    rest = [found.id for found in requests.find(database) if not found.outcome]
    assert sorted(rest) == [5, 6]


def test_how_many_exports_were_made_is_told(asked, database):
    id_ = asked(requests.EXPORT_CUSTOMER, customer_id="7")
    requests.complete(database, requests.take_due(database, id_), requests.DONE, {"events": []})
    done_at = column(database, id_, "completed_at")
    assert requests.delete_exports(database, SHOP, None) == 1
    assert requests.delete_exports(database, SHOP, None) == 0
    assert column(database, id_, "outcome") == requests.DONE
    assert column(database, id_, "completed_at") == done_at


@pytest.mark.parametrize(("columns", "state"), [
    ({}, "searching"),
    ({"batches_to": 1}, "settling"),
    ({"batches_to": 1, "outcome": "done"}, "watching"),
    ({"outcome": "done"}, "closing"),
    ({"outcome": "done", "due_at": None}, "closed"),
    ({"due_at": None}, "closed"),
    ({"kind": "export_customer"}, "exporting"),
    ({"kind": "export_customer", "outcome": "done"}, "closing"),
    ({"due_at": "9999-01-01 00:00Z"}, "failed"),
    ({"kind": "export_customer", "due_at": "9999-01-01 00:00Z"}, "failed"),
])  # fmt: skip
def test_the_table_tells_the_state_of_a_request_also_from_what_an_older_release_wrote(
    database, columns, state
):
    row = {"kind": "erase_customer", "shop_domain": SHOP, "source": "customers/redact"} | columns
    row.setdefault("requested_at", "2026-01-01 00:00Z")
    database.execute(
        sql.SQL("INSERT INTO privacy_requests ({}) VALUES ({})").format(
            sql.SQL(", ").join(map(sql.Identifier, row)),
            sql.SQL(", ").join(sql.Placeholder() * len(row)),
        ),
        list(row.values()),
    )
    assert database.execute("SELECT state FROM privacy_requests").fetchone() == (state,)
    assert requests.find(database)[0].state == state


def tries(database, id_):
    return requests.find(database, id_=id_)[0].tries


def test_a_try_counts_from_its_beginning_until_it_has_done_something(asked, database):
    """So that one which kills its process each time does not go on for ever."""
    id_, other = asked(), asked()
    request = requests.take_due(database, id_)
    assert (request.tries, tries(database, id_)) == (0, 1)
    requests.renew(database, request)
    database.execute("UPDATE privacy_requests SET due_at = now()")
    request = requests.take_due(database, id_)
    assert (request.tries, request.cause) == (1, "its process was killed")
    requests.failed(database, request, "Other", heals=True)
    assert tries(database, id_) == 1  # what heals does not count
    requests.failed(database, request, "Other", heals=False)
    assert requests.find(database, id_=id_)[0].cause == "Other"
    requests.go_on_after(database, request, timedelta(0))
    assert [tries(database, id_), requests.take_due(database, id_).tries] == [0, 0]
    requests.close(database, request)
    assert (tries(database, id_), tries(database, other)) == (0, 0)


def test_what_fails_just_as_the_operator_retries_it_counts_anew(asked, database):
    id_ = asked()
    request = requests.take_due(database, id_)
    assert not requests.retry(database, id_)  # it had not failed
    assert not requests.failed(database, request, "Other", heals=False)
    assert column(database, id_, "attempts") == 1
    assert tries(database, id_) == 0


def test_one_that_kills_its_process_ten_times_waits_for_the_operator(asked, database, work, caplog):
    id_ = asked(requests.ERASE_SHOP)
    for _ in range(10):
        assert requests.take_due(database, id_)
        database.execute("UPDATE privacy_requests SET due_at = now()")
    assert [request.id for request in work()] == [id_]
    [found] = requests.find(database, id_=id_)
    assert (found.state, found.cause) == (requests.FAILED, "its process was killed")
    [record] = [one for one in caplog.records if getattr(one, "action", "") == "privacy_failed"]
    assert (record.levelname, record.request, record.cause, record.exc_info) == (
        "ERROR", id_, "its process was killed", None
    )  # fmt: skip
    assert requests.retry(database, id_)
    work()
    assert requests.find(database, id_=id_)[0].outcome == requests.DONE


def test_a_lost_connection_is_no_fault_of_the_request(asked, database, database_url, settings):
    id_ = asked(requests.ERASE_SHOP)
    with closing(Work(Journals.of(settings))) as work:
        with connect(database_url, "tests") as lost:
            database.execute(
                "CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
                " PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$;"
                "CREATE TRIGGER cut AFTER UPDATE OF batches_to ON privacy_requests"
                " EXECUTE FUNCTION cut()"
            )
            try:
                with pytest.raises(OperationalError):
                    work.run_due(lost)
            finally:
                database.execute("DROP FUNCTION cut CASCADE")
        assert tries(database, id_) == 1
        assert work.run_due(database) is None  # its lease is not over
        assert tries(database, id_) == 0
