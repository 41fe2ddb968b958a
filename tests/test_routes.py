"""What holds for every route."""

import pytest

from app.replies import HEADERS
from tests.calls import PATH, SECRET, body

# Neither of them tells or changes anything that is somebody's.
OPEN = {
    "merchant.session_token": "App Bridge fetches the token there; it shows nothing of anybody",
    "health.healthz": "whoever watches the process has no secret",
    "health.readyz": "the same; it names states and numbers, no hosts and no causes",
}
TOKEN = "a-metrics-token"


def routes(app):
    return [
        (rule, method)
        for rule in app.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
    ]


@pytest.fixture
def guarded(calling):
    return calling(metrics_token=TOKEN)


def test_no_route_answers_a_stranger_but_those_that_are_named_open(guarded):
    client = guarded._client
    app = client.application
    assert OPEN.keys() <= {rule.endpoint for rule, _ in routes(app)}
    for rule, method in routes(app):
        path = rule.build(dict.fromkeys(rule.arguments, "x"), append_unknown=False)[1]
        if rule.endpoint not in OPEN:
            for headers in ({}, {"Authorization": "Bearer x"}, {"X-Shopify-Hmac-Sha256": "x"}):
                reply = client.open(path, method=method, headers=headers, data=b"{}")
                assert reply.status_code == 401, f"{method} {path}"


@pytest.mark.parametrize("path", ["/healthz", "/metrics", "/nowhere", PATH, "/webhooks"])
def test_every_reply_has_the_headers(guarded, path):
    for reply in (guarded.get(path), guarded._client.post(path, data=b"{}")):
        assert {name: reply.headers.get(name) for name in HEADERS} == HEADERS
        is_own = "Strict-Transport-Security" in reply.headers
        assert is_own == (path != PATH)  # and not in the name of the merchant's domain


def test_a_success_has_them_too(guarded):
    reply = guarded.post(body())
    assert reply.status_code == 200
    assert HEADERS.items() <= dict(reply.headers).items()
    assert SECRET not in str(reply.headers)


def test_what_a_route_takes_is_told_to_nobody(guarded):
    app = guarded._client.application
    for path in {rule.build({}, append_unknown=False)[1] for rule, _ in routes(app)}:
        reply = guarded._client.open(path, method="OPTIONS")
        assert reply.status_code in (404, 405), path
        assert "OPTIONS" not in reply.headers.get("Allow", "")
