"""Rate limits, in the stream's script and before the store."""

import gzip
import json
from collections import Counter

import pytest

from tests.calls import CONTEXT, body, event
from tests.draining import drain

NIL = "00000000-0000-0000-0000-000000000000"

SUCCESS = b'{"success":true}'


@pytest.fixture(params=["stream", "store"])
def limited(request, calling, monkeypatch):
    now = 1_800_000_030.0
    for module in ("stream", "filter"):
        monkeypatch.setattr(f"app.intake.{module}.time.time", lambda: now)

    def make(**limits):
        none = dict.fromkeys(("shop", "visitor", "shop_bytes", "visitor_bytes", "rejected"), 0)
        settings = {
            f"rate_limit_{name}_per_minute": limit for name, limit in (none | limits).items()
        }
        return calling(intake=request.param, **settings)

    # The signature is judged by the same clock.
    monkeypatch.setattr("tests.calls.time.time", lambda: now)
    return make


def visitor(name):
    return {**CONTEXT, "genlook_client_id": name}


def test_a_visitor_over_the_limit_is_told_when_to_come_again(limited):
    caller = limited(visitor=3)
    assert caller.post(body(event(), event())).data == SUCCESS
    reply = caller.post(body(event(), event()))
    assert (reply.status_code, reply.json["code"]) == (429, "RATE_LIMIT_EXCEEDED")
    assert reply.json["success"] is False
    assert reply.headers["Retry-After"] == "30"
    assert reply.headers["Cache-Control"] == "private, no-store"


def test_other_visitors_and_other_shops_are_not_hurt(limited):
    caller = limited(visitor=1)
    assert caller.post(body(context=visitor("a"))).status_code == 200
    assert caller.post(body(context=visitor("a"))).status_code == 429
    assert caller.post(body(context=visitor("b"))).status_code == 200
    assert caller.post(body(context=visitor("a")), shop="b.myshopify.com").status_code == 200


def test_a_shop_over_the_limit_is_refused_whoever_visits(limited):
    caller = limited(shop=2)
    assert caller.post(body(context=visitor("a"))).status_code == 200
    assert caller.post(body(context=visitor("b"))).status_code == 200
    assert caller.post(body(context={})).status_code == 429
    assert caller.post(body(), shop="b.myshopify.com").status_code == 200


def test_without_a_client_id_the_session_is_the_visitor(limited):
    caller = limited(visitor=1)
    assert caller.post(body(context={"$session_id": "s"})).status_code == 200
    assert caller.post(body(context={"$session_id": "s"})).status_code == 429
    assert [caller.post(body(context={})).status_code for _ in range(3)] == [200] * 3


@pytest.mark.parametrize("missing", ["undefined", '"null"', " ", "[object Object]", NIL])
def test_what_names_nobody_is_no_visitor(limited, missing):
    caller = limited(visitor=1)
    nobody = {"genlook_client_id": missing, "$session_id": missing}
    assert [caller.post(body(context=nobody)).status_code for _ in range(3)] == [200] * 3
    session = {"genlook_client_id": missing, "$session_id": "s"}
    assert [caller.post(body(context=session)).status_code for _ in range(2)] == [200, 429]


def test_batches_without_a_visitor_share_a_tenth_of_the_shop(limited):
    caller = limited(shop=30)
    statuses = [caller.post(body(context={})).status_code for _ in range(4)]
    assert statuses == [200, 200, 200, 429]
    assert caller.post(body(context={}), shop="b.myshopify.com").status_code == 200
    statuses = [caller.post(body(context=visitor(f"v{n}"))).status_code for n in range(28)]
    assert statuses == [200] * 27 + [429]


def test_bytes_are_counted_after_unpacking(limited):
    caller = limited(visitor_bytes=100_000)
    folded = gzip.compress(json.dumps(body(event(properties={"a": "x" * 30_000}))).encode())
    assert len(folded) < 1_000

    def send(context=None):
        raw = folded if context is None else json.dumps(body(context=context)).encode()
        encoding = {"Content-Encoding": "gzip"} if context is None else {}
        return caller.post(raw=raw, headers=encoding)

    assert [send().status_code for _ in range(4)] == [200, 200, 200, 429]
    assert send().headers["Retry-After"] == "30"
    assert send(visitor("another")).status_code == 200


def test_the_bytes_of_a_shop_are_limited_whoever_visits(limited):
    caller = limited(shop_bytes=100_000)
    sent = event(properties={"a": "x" * 30_000})
    statuses = [
        caller.post(
            body(dict(sent, **{"$insert_id": str(n)}), context=visitor(f"v{n}"))
        ).status_code
        for n in range(4)
    ]
    assert statuses == [200, 200, 200, 429]
    assert caller.post(body(), shop="b.myshopify.com").status_code == 200


def test_without_a_visitor_a_tenth_of_the_bytes_is_left(limited):
    caller = limited(shop_bytes=400_000)
    large = body(event(properties={"a": "x" * 30_000}), context={})
    assert [caller.post(large).status_code for _ in range(2)] == [200, 429]


def test_junk_does_not_use_up_what_the_shop_or_its_visitor_may_send(limited):
    caller = limited(shop=3, visitor=3, shop_bytes=200_000, visitor_bytes=10_000)
    junk = body(event(timestamp=None, properties={"a": "x" * 15_000}))
    assert [caller.post(junk).status_code for _ in range(3)] == [400, 429, 429]
    mixed = body(event(), event(event="no"), event(timestamp=1))
    assert [caller.post(mixed).status_code for _ in range(4)] == [200, 200, 200, 429]


def test_rejected_events_have_a_limit_of_their_own(limited):
    caller = limited(rejected=3)
    assert [caller.post(raw=b"{").status_code for _ in range(3)] == [400, 400, 400]
    refused = caller.post(raw=b"{")
    assert (refused.status_code, refused.json["code"]) == (429, "RATE_LIMIT_EXCEEDED")
    assert caller.post(body()).status_code == 200
    assert caller.post(raw=b"{", shop="b.myshopify.com").status_code == 400


def test_valid_events_beside_rejected_ones_beyond_the_limit_are_stored(
    limited, settings, redis_client
):
    caller = limited(rejected=1)
    for _ in range(3):
        reply = caller.post(body(event(), event(event="no")))
        assert (reply.status_code, reply.json["accepted"]) == (200, 1)
    drain(settings)
    assert (len(caller.rows()), len(caller.rejected())) == (3, 1)
    numbers = Counter(caller.outcomes())
    for name, number in redis_client.hgetall("{t0}:counts:total").items():
        numbers[name.decode()] += int(number)
    assert numbers == {"accepted": 3, "rejected": 3}


def test_zero_is_no_limit(limited):
    caller = limited()
    assert [caller.post(body(event(), event())).data for _ in range(5)] == [SUCCESS] * 5


def test_what_is_refused_is_counted_and_not_marked_as_seen(limited, calling, redis_client):
    caller = limited(visitor=1)
    late = body(event(), event(), event(timestamp=None))
    caller.post(late)
    redis_client.delete(*redis_client.keys("{t0}:rates:*"))
    assert caller.post(body()).data == SUCCESS
    counts = redis_client.hgetall("{t0}:counts:total")
    numbers = {name.decode(): int(number) for name, number in counts.items()}
    for name, number in caller.outcomes().items():
        numbers[name] = numbers.get(name, 0) + number
    assert numbers == {"rate_limited": 3, "accepted": 1}
    assert late["events"][0]["$insert_id"] not in {row["insert_id"] for row in caller.rows()}


def test_without_redis_there_is_no_limit_and_that_is_counted(calling):
    caller = calling(redis_url="redis://127.0.0.1:1", rate_limit_visitor_per_minute=1)
    assert [caller.post(body()).status_code for _ in range(3)] == [200] * 3
    assert caller.outcomes()["limits_skipped"] == 3
