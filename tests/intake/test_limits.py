"""Rate limits, in the stream's script and before the store."""

import pytest

from tests.calls import CONTEXT, body, event

SUCCESS = b'{"success":true}'


@pytest.fixture(params=["stream", "store"])
def limited(request, calling, monkeypatch):
    now = 1_800_000_030.0
    for module in ("stream", "filter"):
        monkeypatch.setattr(f"app.intake.{module}.time.time", lambda: now)

    def make(**limits):
        settings = {f"rate_limit_{name}_per_minute": limit for name, limit in limits.items()}
        return calling(intake=request.param, **settings)

    # The signature is judged by the same clock.
    monkeypatch.setattr("tests.calls.time.time", lambda: now)
    return make


def visitor(name):
    return {**CONTEXT, "genlook_client_id": name}


def test_a_visitor_over_the_limit_is_told_when_to_come_again(limited):
    caller = limited(visitor=3, shop=0)
    assert caller.post(body(event(), event())).data == SUCCESS
    reply = caller.post(body(event(), event()))
    assert (reply.status_code, reply.json["code"]) == (429, "RATE_LIMIT_EXCEEDED")
    assert reply.json["success"] is False
    assert reply.headers["Retry-After"] == "30"
    assert reply.headers["Cache-Control"] == "private, no-store"


def test_other_visitors_and_other_shops_are_not_hurt(limited):
    caller = limited(visitor=1, shop=0)
    assert caller.post(body(context=visitor("a"))).status_code == 200
    assert caller.post(body(context=visitor("a"))).status_code == 429
    assert caller.post(body(context=visitor("b"))).status_code == 200
    assert caller.post(body(context=visitor("a")), shop="b.myshopify.com").status_code == 200


def test_a_shop_over_the_limit_is_refused_whoever_visits(limited):
    caller = limited(visitor=0, shop=2)
    assert caller.post(body(context=visitor("a"))).status_code == 200
    assert caller.post(body(context=visitor("b"))).status_code == 200
    assert caller.post(body(context={})).status_code == 429
    assert caller.post(body(), shop="b.myshopify.com").status_code == 200


def test_without_a_client_id_the_session_is_the_visitor(limited):
    caller = limited(visitor=1, shop=0)
    assert caller.post(body(context={"$session_id": "s"})).status_code == 200
    assert caller.post(body(context={"$session_id": "s"})).status_code == 429
    assert [caller.post(body(context={})).status_code for _ in range(3)] == [200] * 3


def test_zero_is_no_limit(limited):
    caller = limited(visitor=0, shop=0)
    assert [caller.post(body(event(), event())).data for _ in range(5)] == [SUCCESS] * 5


def test_what_is_refused_is_counted_and_not_marked_as_seen(limited, calling, redis_client):
    caller = limited(visitor=1, shop=0)
    late = body(event(), event(timestamp=None))
    caller.post(late)
    redis_client.delete(*redis_client.keys("{t0}:rate:*"))
    assert caller.post(body()).data == SUCCESS
    counts = redis_client.hgetall("{t0}:counts:total")
    numbers = {name.decode(): int(number) for name, number in counts.items()}
    for name, number in caller.outcomes().items():
        numbers[name] = numbers.get(name, 0) + number
    assert numbers == {"rate_limited": 2, "accepted": 1}
    assert late["events"][0]["$insert_id"] not in {row["insert_id"] for row in caller.rows()}


def test_without_redis_there_is_no_limit_and_that_is_counted(calling):
    caller = calling(redis_url="redis://127.0.0.1:1", rate_limit_visitor_per_minute=1)
    assert [caller.post(body()).status_code for _ in range(3)] == [200] * 3
    assert caller.outcomes()["limits_skipped"] == 3
