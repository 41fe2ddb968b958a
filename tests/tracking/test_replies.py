"""The reply table of the endpoint, row by row."""

import gzip
import json
import time

import pytest

from tests.calls import CONTEXT, EVENT, PATH, SHOP, body, event, query

SUCCESS = b'{"success":true}'


@pytest.mark.parametrize("path", [PATH, PATH + "/"])
def test_an_accepted_batch_is_answered_with_exactly_success(caller, path):
    reply = caller.post(body(event(), event()), path=path)
    assert (reply.status_code, reply.data) == (200, SUCCESS)
    assert reply.headers["Cache-Control"] == "private, no-store"
    assert reply.content_type == "application/json"
    assert len(caller.rows()) == 2


def test_a_repeated_batch_is_a_success_and_stored_once(caller):
    batch = body(event(), event())
    assert caller.post(batch).data == SUCCESS
    assert caller.post(batch).data == SUCCESS
    assert len(caller.rows()) == 2


def test_a_repeat_within_a_batch_keeps_the_first(caller):
    first, second = event(insert_id="x"), event(insert_id="x", event="widget:image_upload")
    assert caller.post(body(first, second)).data == SUCCESS
    assert [row["event"] for row in caller.rows()] == ["widget:button_click"]


def test_the_same_id_in_two_shops_is_two_events(caller):
    batch = body(event())
    caller.post(batch, shop="one.myshopify.com")
    caller.post(batch, shop="two.myshopify.com")
    assert {row["shop_domain"] for row in caller.rows()} == {
        "one.myshopify.com",
        "two.myshopify.com",
    }


def test_valid_events_are_stored_beside_invalid_ones(caller):
    good, late, odd = event(), event(timestamp="yesterday"), "not an event"
    reply = caller.post(body(late, good, odd, event(insert_id=7)))
    assert reply.status_code == 200
    assert reply.json == {
        "success": True,
        "accepted": 1,
        "rejected": [
            {
                "index": 0,
                "insert_id": late["$insert_id"],
                "code": "VALIDATION_FAILED",
                "details": [
                    {
                        "path": "timestamp",
                        "message": "must be an ISO 8601 date and time, "
                        "such as 2024-01-15T10:30:00Z",
                    }
                ],
            },
            {
                "index": 2,
                "insert_id": None,
                "code": "VALIDATION_FAILED",
                "details": [{"path": "", "message": "must be an object"}],
            },
            {
                "index": 3,
                "insert_id": None,
                "code": "VALIDATION_FAILED",
                "details": [{"path": "$insert_id", "message": "must be a string"}],
            },
        ],
    }
    assert [row["insert_id"] for row in caller.rows()] == [good["$insert_id"]]
    rejected = caller.rejected()
    payloads = [json.loads(row["payload"]) for row in rejected]
    assert payloads == [late, odd, EVENT | {"$insert_id": 7}]
    assert {row["shop_domain"] for row in rejected} == {SHOP}
    assert {row["code"] for row in rejected} == {"VALIDATION_FAILED"}
    assert rejected[0]["details"] == reply.json["rejected"][0]["details"]
    assert rejected[0]["context"] == CONTEXT


@pytest.mark.parametrize(
    ("document", "paths"),
    [
        ([], [""]),
        ("text", [""]),
        (None, [""]),
        ({}, ["events", "context"]),
        ({"events": [EVENT]}, ["context"]),
        ({"events": [EVENT], "context": None}, ["context"]),
        ({"events": [EVENT], "context": []}, ["context"]),
        ({"events": [EVENT], "context": {"a": "b" * 33_000}}, ["context"]),
        ({"context": {}}, ["events"]),
        ({"events": {}, "context": {}}, ["events"]),
        ({"events": None, "context": {}}, ["events"]),
        ({"events": [], "context": {}}, ["events"]),
        ({"events": [EVENT] * 51, "context": {}}, ["events"]),
        ({"events": [None], "context": {}}, ["events.0"]),
        (
            {"events": [{}, EVENT | {"timestamp": 1}], "context": {}},
            ["events.0.event", "events.0.$insert_id", "events.0.timestamp", "events.1.timestamp"],
        ),
    ],
)
def test_a_batch_without_a_usable_event_is_refused(caller, document, paths):
    reply = caller.post(document)
    assert reply.status_code == 400
    assert list(reply.json) == ["success", "code", "message", "details"]
    assert reply.json["success"] is False
    assert reply.json["code"] == "VALIDATION_FAILED"
    assert [detail["path"] for detail in reply.json["details"]] == paths
    assert all(detail["message"].startswith("must ") or "larger" in detail["message"]
               or "required" in detail["message"] for detail in reply.json["details"])  # fmt: skip
    assert caller.rows() == []
    assert caller.rejected()


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b'{"events":[NaN]}', b"<xml/>"])
def test_a_body_that_is_not_json_is_refused(caller, raw):
    reply = caller.post(raw=raw)
    assert reply.status_code == 400
    assert reply.json["code"] == "MALFORMED_JSON"
    assert reply.json["success"] is False
    [row] = caller.rejected()
    assert (row["code"], row["payload"]) == ("MALFORMED_JSON", raw.decode(errors="replace"))


def test_a_body_cut_short_in_its_gzip_data_is_refused(caller):
    raw = gzip.compress(json.dumps(body()).encode())[:-9]
    reply = caller.post(raw=raw, headers={"Content-Encoding": "gzip"})
    assert (reply.status_code, reply.json["code"]) == (400, "MALFORMED_JSON")


@pytest.mark.parametrize("content_type", ["text/plain;charset=UTF-8", "application/xml", ""])
def test_the_body_is_json_whatever_its_content_type(caller, content_type):
    assert caller.post(body(), headers={"Content-Type": content_type}).data == SUCCESS
    assert len(caller.rows()) == 1


def test_a_gzipped_body_is_accepted(caller):
    raw = gzip.compress(b"\xef\xbb\xbf" + json.dumps(body()).encode())
    assert caller.post(raw=raw, headers={"Content-Encoding": "gzip"}).data == SUCCESS
    assert len(caller.rows()) == 1


@pytest.mark.parametrize(
    "made",  # when the test runs: a signature does not hold for long
    [
        lambda: "",
        lambda: "shop=a-shop.myshopify.com",
        lambda: query(secret="another"),
        lambda: query(timestamp=time.time() - 1_000),
        lambda: query(timestamp=time.time() + 1_000),
        lambda: query(shop="evil.example"),
        lambda: query() + "&shop=other.myshopify.com",
        lambda: query(extra=[("a", "1shop=victim.myshopify.com")]),
        lambda: "%" * 500,
        lambda: query().replace("signature=", "signature=%C3%A9"),
    ],
)
def test_every_fault_of_the_signature_gets_the_same_reply(caller, made):
    reply = caller.post(body(), query_string=made())
    assert reply.status_code == 401
    assert reply.json == {
        "success": False,
        "code": "INVALID_SIGNATURE",
        "message": "The request is not signed by Shopify's app proxy.",
    }
    assert reply.headers["Cache-Control"] == "private, no-store"
    assert caller.rows() == []
    assert caller.rejected() == []


def test_the_signature_is_judged_before_the_body(caller):
    assert caller.post(raw=b"{", query_string="").status_code == 401
    assert caller.post(raw=b"a" * 600_000, query_string="").status_code == 401


def test_too_large_a_body_is_refused(caller):
    reply = caller.post(raw=b'"' + b"a" * 600_000 + b'"')
    assert (reply.status_code, reply.json["code"]) == (413, "PAYLOAD_TOO_LARGE")
    bomb = gzip.compress(bytes(2_000_000))
    reply = caller.post(raw=bomb, headers={"Content-Encoding": "gzip"})
    assert (reply.status_code, reply.json["code"]) == (413, "PAYLOAD_TOO_LARGE")


def test_an_unknown_encoding_is_refused(caller):
    reply = caller.post(body(), headers={"Content-Encoding": "br"})
    assert (reply.status_code, reply.json["code"]) == (415, "UNSUPPORTED_ENCODING")


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "TRACE"])
def test_another_method_is_refused(app, method):
    reply = app.test_client().open(PATH, method=method, query_string=query())
    assert reply.status_code == 405
    assert reply.headers["Allow"] == "POST"
    if method != "HEAD":
        assert reply.json["code"] == "METHOD_NOT_ALLOWED"
        assert reply.json["success"] is False
    assert reply.headers["Cache-Control"] == "private, no-store"


@pytest.mark.parametrize(
    "path", ["/", "/apps", PATH + "x", PATH + "//", "/" + PATH, PATH.upper(), PATH[:-1], "/%00"]
)
def test_an_unknown_path_is_not_found_and_never_a_redirect(app, path):
    reply = app.test_client().post(path)
    assert reply.status_code == 404
    assert (reply.json["code"], reply.json["success"]) == ("NOT_FOUND", False)
    assert reply.headers["Cache-Control"] == "private, no-store"


def test_a_batch_that_no_journal_takes_is_not_a_server_error(calling):
    caller = calling(
        database_url="postgresql://127.0.0.1:1/x",
        redis_url="redis://127.0.0.1:1",
        spool_dir="/dev/null/spool",
    )
    reply = caller.post(body())
    assert reply.status_code == 200
    assert list(reply.json) == ["success", "code", "message"]
    assert (reply.json["success"], reply.json["code"]) == (False, "NOT_STORED")
    assert caller.outcomes() == {"not_stored": 1}


def test_a_fault_of_ours_is_not_a_server_error(app, caller, monkeypatch, caplog):
    monkeypatch.setattr("app.tracking.endpoint.Submission", None)
    reply = caller.post(body())
    assert (reply.status_code, reply.json["code"]) == (200, "NOT_STORED")
    assert app.extensions["intake"].outcomes.take()["fault"] == 1
    assert [record.action for record in caplog.records if record.levelname == "ERROR"] == [
        "fault",
        "not_stored",
    ]


def test_no_reply_and_no_log_line_holds_the_signature(app, caller, caplog):
    caplog.set_level("DEBUG")
    signed = query()
    signature = signed.rpartition("=")[2]
    replies = [
        caller.post(body(), query_string=signed),
        caller.post(raw=b"{", query_string=signed),
        caller.post(body(), query_string=signed + "&shop=x"),
        app.test_client().post("/nowhere", query_string=signed),
        app.test_client().get(PATH, query_string=signed),
    ]
    assert not [reply for reply in replies if signature.encode() in reply.data]
    assert signature not in caplog.text
