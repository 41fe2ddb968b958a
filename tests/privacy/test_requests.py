"""POST /webhooks, and what follows from it."""

import json
from datetime import UTC, datetime

import pytest

from app.privacy import erasure, pieces
from app.privacy import requests as requests_module
from app.privacy import work as work_module
from app.store.shops import mark_installed
from tests.calls import SHOP, body, event, odd_event
from tests.privacy.bodies import redaction


def exported(database, id_=1):
    """What `flask privacy export` prints."""
    [request] = requests_module.find(database, id_=id_)
    return json.loads("".join(pieces.as_json(database, request)))


def requests(caller):
    return caller.rows("privacy_requests", "id")


def test_a_wrong_or_missing_signature_is_refused(deliver, caller):
    for headers in ({"X-Shopify-Hmac-Sha256": "bm8="}, {"X-Shopify-Hmac-Sha256": ""}):
        reply = deliver("shop/redact", headers=headers)
        assert (reply.status_code, reply.json["code"]) == (401, "INVALID_SIGNATURE")
    assert caller._client.post("/webhooks", data=b"{}").status_code == 401
    assert requests(caller) == []


@pytest.mark.parametrize(("beyond", "status"), [(0, 200), (1, 413)])
def test_a_delivery_of_two_mib_is_taken_and_no_larger_one(deliver, caller, beyond, status):
    rest = b'{"customer":{"id":7},"orders":"%b"}'
    raw = rest % (b"1" * (2 * 1024 * 1024 + beyond - len(rest) + 2))
    reply = deliver("customers/redact", raw=raw)
    assert (len(raw), reply.status_code) == (2 * 1024 * 1024 + beyond, status)
    assert len(requests(caller)) == (status == 200)


def test_a_delivery_that_comes_again_counts_once(deliver, caller):
    for _ in range(3):
        assert deliver("customers/redact", redaction(7), id_="one").json == {"success": True}
    deliver("customers/redact", redaction(7), id_="two")
    assert len(requests(caller)) == 2


def test_the_other_family_of_headers_is_read(deliver, caller):
    deliver("shop/redact")
    assert deliver("shop/redact", family="shopify-", id_="another").status_code == 200
    assert len(requests(caller)) == 2


@pytest.mark.parametrize("topic", ["orders/create", "", "x" * 300])
def test_an_unknown_topic_is_answered_and_logged(deliver, caller, caplog, topic):
    with caplog.at_level("INFO"):
        assert deliver(topic, {"customer": {"email": "ann@x.de"}}).status_code == 200
    [line] = [record for record in caplog.records if getattr(record, "action", "") == "webhook"]
    assert (line.topic, line.became) == (topic, "unknown")
    assert "ann@" not in str(line.__dict__)


@pytest.mark.parametrize("raw", [b"", b"no json", b"[]", b'{"customer": 5}', b'{"customer": {}}'])
@pytest.mark.parametrize("topic", ["customers/redact", "app/uninstalled"])
def test_an_odd_body_is_no_fault(deliver, work, topic, raw):
    assert deliver(topic, raw=raw).status_code == 200
    work()


def test_a_body_of_many_megabytes_is_refused(deliver):
    assert deliver("shop/redact", raw=b"a" * 3_000_000).status_code == 413


@pytest.mark.slow
def test_without_postgres_the_delivery_is_left_to_shopify(calling, deliver, caller, said):
    away = calling(database_url="postgresql://127.0.0.1:1/x")
    caller._client = away._client
    assert deliver("shop/redact").status_code == 503
    # Well before the 5 s after which Shopify gives up.
    why = "PoolTimeout: couldn't get a connection after 3.00 sec"
    assert said("webhook_postponed", "cause") == [("WARNING", why)]


def shop(caller):
    [row] = caller.rows("shops", "id")
    return row


def is_installed(row):
    return not row["uninstalled_at"] or bool(
        row["installed_at"] and row["installed_at"] > row["uninstalled_at"]
    )


@pytest.mark.parametrize("later", [body(), body(event(timestamp="never"))])
def test_a_shop_that_has_left_is_back_with_its_next_request(deliver, work, caller, later):
    caller.post(body())
    assert is_installed(shop(caller))
    deliver("app/uninstalled", {"id": 5, "domain": "ann.com"})
    work()
    assert not is_installed(shop(caller))
    caller.post(later)
    caller.rows()
    work()
    assert is_installed(shop(caller))


def test_a_shop_nobody_knew_can_leave_too(deliver, caller):
    deliver("app/uninstalled", {})
    assert not is_installed(shop(caller))


def counts(caller, database):
    return {
        table: database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        for table in ("events", "batches", "rejected_events")
    }


def test_all_of_a_shop_goes_with_a_proof_and_nothing_of_another(
    deliver, work, caller, database, redis_client
):
    for domain in (SHOP, "other.myshopify.com"):
        caller.post(
            body(event(), event(timestamp="2019-01-01T00:00:00Z"), event(timestamp=1)), shop=domain
        )
    assert len(caller.rows()) == 4
    caller.post(body(event()))  # waits in the stream
    deliver("app/uninstalled", {})
    deliver("shop/redact", {"shop_id": 1, "shop_domain": SHOP})
    work()
    assert redis_client.xlen("{t0}:stream") == 0
    assert {row["shop_domain"] for row in caller.rows()} == {"other.myshopify.com"}
    assert counts(caller, database) == {"events": 2, "batches": 1, "rejected_events": 1}
    [proof] = requests(caller)
    assert proof["outcome"] == "done"
    assert proof["erased"] == {
        "events": 2, "batches": 1, "rejected_events": 1, "waiting_batches": 1, "report_news": 1
    }  # fmt: skip
    assert (proof["subject"], proof["completed_at"] is not None) == (None, True)
    assert not any(SHOP in key.decode() for key in redis_client.scan_iter())


def test_a_shop_that_has_installed_again_is_not_redacted(deliver, work, caller):
    caller.post(body())
    caller.rows()
    deliver("app/uninstalled", {})
    caller.post(body())  # waits in the stream only
    deliver("shop/redact", {"shop_domain": SHOP})
    work()
    assert len(caller.rows()) == 2
    assert [row["outcome"] for row in requests(caller)] == ["installed again"]


def test_of_a_shop_that_goes_on_all_of_before_goes_in_whatever_order_it_was_stored(
    deliver, work, caller, redis_client
):
    caller.post(body(event(insert_id="before")))
    [(_, before)] = redis_client.xrange("{t0}:stream")
    redis_client.delete("{t0}:stream")
    deliver("shop/redact", {"shop_domain": SHOP})
    caller.post(body(event(insert_id="after")))
    caller.rows()
    redis_client.xadd("{t0}:stream", before)
    assert len(caller.rows()) == 2
    work()
    assert [row["insert_id"] for row in caller.rows()] == ["after"]


@pytest.mark.parametrize("intake", ["stream", "store"])
def test_a_shop_that_sends_only_repeats_is_back_once_the_merchant_opens_the_page(
    deliver, work, caller, calling, redis_client, database, intake
):
    sent = body()
    storefront = calling(intake=intake)
    storefront.post(sent)
    caller.rows()
    deliver("app/uninstalled", {})
    work()
    storefront.post(sent)
    work()
    assert not is_installed(shop(caller))
    mark_installed(database, SHOP, datetime.now(UTC))  # as the page does
    deliver("shop/redact", {"shop_domain": SHOP})
    work()
    assert len(caller.rows()) == 1
    assert requests(caller)[0]["outcome"] == "installed again"
    deliver("shop/redact", {"shop_domain": SHOP}, id_="by hand")
    caller._database.execute("UPDATE privacy_requests SET source = 'command'")
    work()
    assert not any(SHOP in key.decode() for key in redis_client.scan_iter())


def test_a_shop_of_which_nothing_is_known_is_redacted_as_well(deliver, work, caller):
    deliver("shop/redact", {"shop_domain": "never.myshopify.com"}, shop="never.myshopify.com")
    work()
    assert [row["outcome"] for row in requests(caller)] == ["done"]


def test_the_work_goes_on_after_whoever_had_it_was_killed(deliver, work, caller, database):
    caller.post(body(), customer="7")
    caller.rows()
    deliver("customers/redact", redaction(7))
    database.execute("UPDATE privacy_requests SET due_at = now() + interval '1 hour'")
    assert work() == []
    database.execute("UPDATE privacy_requests SET due_at = now()")  # its lease is over
    work()
    assert caller.rows() == []


def test_what_fails_is_tried_again(deliver, work, caller, database, monkeypatch):
    caller.post(body(), customer="7")
    caller.rows()
    deliver("customers/redact", redaction(7))
    with monkeypatch.context() as patch:
        patch.setattr(erasure, "_delete_batches", lambda *_: 1 / 0)
        work()
    assert counts(caller, database)["batches"] == 1
    database.execute("UPDATE privacy_requests SET due_at = now()")
    work()
    assert counts(caller, database)["batches"] == 0
    [request] = requests(caller)
    assert request["outcome"] == "done"
    assert request["erased"] == {"events": 1, "batches": 1}  # of both tries


def test_what_a_shopper_asks_for_is_exported_and_expires(deliver, work, caller, database):
    caller.post(body(event(insert_id="his"), event(timestamp=1)), customer="7")
    caller.post(body(event(insert_id="anonymous")))
    caller.post(body(event(insert_id="anothers")), customer="8")
    caller.rows()
    deliver("customers/data_request", redaction("7", "Ann@Example.com"))
    work()
    [request] = requests(caller)
    export = exported(database)
    assert [row["insert_id"] for row in export["events"]] == ["his", "anonymous"]
    assert export["events"][0]["context"]["$host"] == "yourstore.com"
    assert len(export["rejected_events"]) == 1
    assert export["customer_id"] == "7"
    assert (request["expires_at"] - request["completed_at"]).days == 30


def test_odd_numbers_and_depths_are_exported_too(deliver, work, caller, database):
    caller.post(body(odd_event()), customer="7")
    caller.rows()
    deliver("customers/data_request", redaction("7"))
    work()
    assert exported(database)["events"][0]["properties"]["n"] == 1e30


def test_an_erasure_takes_the_exports_along(deliver, work, caller, database):
    deliver("customers/data_request", redaction(7, "ann@example.com"))
    work()
    assert requests(caller)[0]["export"]
    deliver("customers/redact", redaction(7))
    work()
    assert "ann@" not in json.dumps(requests(caller), default=str)


def test_an_erasure_takes_along_what_was_asked_for_and_is_not_exported_yet(
    deliver, work, caller, database
):
    deliver("customers/data_request", redaction(7, "ann@example.com"))
    deliver("customers/data_request", redaction(8, "ben@example.com"), id_="ben's")
    deliver("customers/redact", redaction(7, "ann@example.com"))
    database.execute("UPDATE privacy_requests SET due_at = now() - interval '1 day' WHERE id = 3")
    work()
    hers, his, _ = requests(caller)
    assert "ann@" not in json.dumps([hers, his], default=str)
    assert (hers["outcome"], hers["export"], hers["due_at"]) == ("erased", None, None)
    assert his["export"]["emails"] == ["ben@example.com"]


def test_an_export_that_is_being_made_does_not_outlive_an_erasure(
    deliver, work, caller, database, monkeypatch
):
    deliver("customers/data_request", redaction(7))

    def export(*_):
        deliver("shop/redact", {"shop_domain": SHOP})
        database.execute("UPDATE privacy_requests SET due_at = 'infinity' WHERE id = 1")
        with monkeypatch.context() as patch:
            patch.setattr(work_module, "export", real)
            work()
        yield "events", [{"event": "his"}]

    real = work_module.export
    monkeypatch.setattr(work_module, "export", export)
    work()
    assert [row["export"] for row in requests(caller)] == [None, None]
    assert caller.rows("export_pieces", "number") == []


def test_an_export_tells_nothing_of_another_customer_who_has_given_her_address(
    deliver, work, caller, database
):
    given = event(event="widget:email_collected", properties={"email": "ann@example.com"})
    caller.post(body(given, event()), customer="8")
    caller.rows()
    deliver("customers/data_request", redaction(7, "ann@example.com"))
    work()
    [shown] = exported(database)["events"]
    assert shown["properties"] == {"email": "ann@example.com"}
    assert shown["insert_id"] == given["$insert_id"]
    others = ("customer_id", "client_id", "session_id", "current_url", "context", "device_class")
    assert {shown[name] for name in others} == {None}


@pytest.mark.parametrize(
    "raw",
    [
        b'{"customer": {"id": 7, "email": "x\\u0000\\ud83d@example.com"}}',
        b'\xef\xbb\xbf{"customer": {"id": 7}}',
    ],
)
def test_what_postgres_cannot_hold_is_no_reason_not_to_be_forgotten(deliver, work, caller, raw):
    caller.post(body(), customer="7")
    caller.rows()
    assert deliver("customers/redact", raw=raw).status_code == 200
    work()
    assert caller.rows() == []


@pytest.mark.slow
@pytest.mark.parametrize("topic", ["customers/redact", "customers/data_request", "shop/redact"])
def test_a_request_waits_for_entries_of_a_newer_release(
    deliver, caller, work, database, redis_client, monkeypatch, topic
):
    caller.post(body(event()), customer="7")
    [(entry, fields)] = redis_client.xrange("{t0}:stream")
    redis_client.xdel("{t0}:stream", entry)
    redis_client.xadd("{t0}:stream", {**fields, b"batch": fields[b"batch"] + b"\tmore"})
    deliver(topic, redaction(7))
    work()
    [request] = requests(caller)
    assert request["outcome"] is None
    assert request["attempts"] == 1

    redis_client.delete("{t0}:stream")  # the newer worker
    database.execute("UPDATE privacy_requests SET due_at = now()")
    work()
    assert requests(caller)[0]["outcome"] == "done"
