"""What Redis is asked before Postgres stores a batch in the request, on a real server."""

import threading
import time

import pytest

from app.intake import filter as filter_module
from app.intake import keys
from app.intake.breaker import CircuitBreaker
from app.intake.filter import Filter
from app.intake.limits import Allowance, Limits, RateLimited
from app.intake.memory import Bounds
from app.intake.nodes import Nodes
from app.intake.outcomes import Outcomes
from app.intake.redis_client import client_of
from app.intake.stream import Stream
from app.intake.streams import Streams
from tests.intake.test_stream import SHOP, WINDOW, submission


@pytest.fixture
def making(redis_url):
    """Makes filters, as of several web processes."""

    def make(url=redis_url, *, limits=None, partitions=1, seen_ids=100):
        outcomes = Outcomes()

        def stream(node):
            return Stream(
                node,
                outcomes,
                breaker=CircuitBreaker(),
                partitions=partitions,
                max_batches=1,
                bounds=Bounds(10**9, seen_ids=seen_ids),
                dedup_window=WINDOW,
                limits=Limits(),
            )

        return Filter(
            Streams(Nodes(client_of(url, 0.5)), stream, outcomes, partitions=partitions),
            outcomes,
            dedup_window=WINDOW,
            limits=limits or Limits(),
        )

    return make


def unseen(filter_, sent):
    """The ids that would be stored."""
    with filter_.unseen(sent) as lines:
        return [line.split(b"\t")[4].decode() for line in lines]


def test_what_was_marked_is_left_out(making):
    making().mark(submission("a", "b").batch)
    assert unseen(making(), submission("c", "a", "d")) == ["c", "d"]


def test_of_a_shop_that_marks_too_many_ids_the_oldest_are_forgotten(making, redis_client):
    filter_ = making(seen_ids=10)
    for number in range(0, 100, 5):
        filter_.mark(submission(*map(str, range(number, number + 5))).batch)
    sets = redis_client.keys("{t0}:seen:*")
    assert sum(map(redis_client.scard, sets)) <= 3 * 10
    assert unseen(filter_, submission(*map(str, range(85, 100)))) == []


def test_what_was_not_marked_is_no_repeat(making):
    assert unseen(making(), submission("a")) == ["a"]
    assert unseen(making(), submission("a")) == ["a"]


def test_another_request_waits_for_the_mark(making):
    found, is_claimed = [], threading.Event()
    first, sent = making(), submission("a")

    def come_second():
        is_claimed.wait()
        found.append(unseen(making(), submission("a", "b")))

    second = threading.Thread(target=come_second)
    second.start()
    with first.unseen(sent):
        is_claimed.set()
        time.sleep(0.1)
        assert found == []
        first.mark(sent.batch)
    second.join()
    assert found == [["b"]]


def test_a_claim_that_is_let_go_of_without_a_mark_passes_to_who_waits(making, redis_client):
    first, second, waited = making(), making(), []

    def come_second():
        began = time.monotonic()
        with second.unseen(submission("a")) as lines:
            waited.append((len(lines), time.monotonic() - began))
            waited.append(redis_client.exists(*redis_client.keys("{t0}:claim:*")))

    with first.unseen(submission("a")):
        thread = threading.Thread(target=come_second)
        thread.start()
        time.sleep(0.1)
    thread.join()
    [(number, seconds), claims] = waited
    assert (number, claims) == (1, 1)
    assert 0.1 <= seconds < filter_module._CLAIM_TIMEOUT


def test_the_claim_of_a_request_that_hangs_holds_nobody_up_for_long(making, redis_client):
    with making().unseen(submission("a")):
        assert unseen(making(), submission("a")) == ["a"]
        assert len(redis_client.keys("{t0}:claim:*")) == 1


def test_a_claim_lives_for_as_long_as_a_request_may_take(making, redis_client):
    with making().unseen(submission("a")):
        [claim] = redis_client.keys("{t0}:claim:*")
        assert 2_500 < redis_client.pttl(claim) <= 3_000
        assert len(redis_client.get(claim)) == 8


def test_who_waits_for_a_claim_asks_fifty_times_a_second_and_gives_up_soon(
    making, redis_client, monkeypatch
):
    pauses, now = [], [1_000.0]
    first, second = making(), making()
    with first.unseen(submission("a")):
        monkeypatch.setattr(filter_module.time, "monotonic", lambda: now[0])

        def sleep(seconds):
            pauses.append(seconds)
            now[0] += seconds

        monkeypatch.setattr(filter_module.time, "sleep", sleep)
        assert unseen(second, submission("a")) == ["a"]
        monkeypatch.undo()
    assert set(pauses) == {0.02}
    assert sum(pauses) == pytest.approx(0.4, abs=0.03)


def test_nothing_is_left_claimed(making, redis_client):
    filter_ = making()
    filter_.mark(submission("a").batch)
    unseen(filter_, submission("a", "b"))
    with pytest.raises(ValueError, match="the store failed"), filter_.unseen(submission("c")):
        raise ValueError("the store failed")
    assert redis_client.keys("{t0}:claim:*") == []


def test_the_script_is_safe_to_repeat(redis_client):
    script = redis_client.register_script(filter_module._SCRIPT)
    claims = [keys.claim(0, SHOP, key) for key in (b"a", b"b")]

    def ask(token):
        return script(keys=[*claims, "{t0}:seen"], args=[0, 0, 2, 60, token, 3_000, b"a", b"b"])

    assert (ask("one"), ask("one"), ask("another")) == (b"+cc", b"+cc", b"+bb")
    redis_client.sadd("{t0}:seen", b"b")
    assert (ask("one"), ask("another")) == (b"+cs", b"+bs")
    assert redis_client.exists(*claims) == 1


def test_a_visitor_over_the_limit_does_not_count_against_the_shop(making, redis_client):
    filter_ = making(limits=Limits(shop=Allowance(10), visitor=Allowance(1)))
    for _ in range(3):
        sent = submission("a", "b")
        sent.visitor = "v"
        with pytest.raises(RateLimited), filter_.unseen(sent):
            pass
    assert len(redis_client.keys("{t0}:rates:*")) == 1
    assert redis_client.keys("{t0}:claim:*") == []
    assert unseen(filter_, submission("a")) == ["a"]


def test_what_the_spool_gives_back_is_not_limited(making):
    filter_ = making(limits=Limits(shop=Allowance(1), visitor=Allowance(1)))
    given_back = submission("a", "b")
    given_back.from_caller = False
    assert unseen(filter_, given_back) == ["a", "b"]


def test_all_that_is_written_expires_and_no_lifetime_is_refreshed(making, redis_client):
    filter_ = making(limits=Limits(shop=Allowance(100)))
    with filter_.unseen(submission("a")):
        filter_.mark(submission("a").batch)
        written = redis_client.keys("*")
        assert len(written) == 4
        assert all(redis_client.ttl(key) > 0 for key in written)
    for key in redis_client.keys("*"):
        redis_client.expire(key, 5)
    unseen(filter_, submission("b"))
    filter_.mark(submission("b").batch)
    assert all(redis_client.ttl(key) <= 5 for key in redis_client.keys("*"))


def test_each_shop_has_all_its_keys_in_one_partition(making, redis_client):
    filter_ = making(limits=Limits(shop=Allowance(100)), partitions=4)
    for number in range(20):
        sent = submission("a", shop=f"shop-{number}.myshopify.com")
        with filter_.unseen(sent):
            filter_.mark(sent.batch)
            partition = keys.partition(sent.batch.shop, 4)
            found = redis_client.keys(f"*shop-{number}.myshopify.com*")
            assert len(found) == 4
            assert {key.split(b":")[0] for key in found} == {b"{t%d}" % partition}


def test_without_redis_everything_may_be_stored(making):
    filter_ = making("redis://127.0.0.1:1", limits=Limits(shop=Allowance(1)))
    sent = submission("a", "b")
    assert unseen(filter_, sent) == ["a", "b"]
    filter_.mark(sent.batch)


def test_what_has_no_event_and_no_limit_is_not_asked_for(making):
    away = making("redis://127.0.0.1:1")
    assert unseen(away, submission()) == []
    assert away._outcomes.take() == {}


def test_a_redis_that_is_back_is_said_once(making, said):
    filter_ = making()
    stream = filter_._streams.of(SHOP)
    stream.breaker.record_failure()
    stream.breaker._pause_ends_at = 0.0
    for _ in range(2):
        assert unseen(filter_, submission("a")) == ["a"]
        filter_.mark(submission("b").batch)
    assert said("journal_back", "journal") == [("INFO", "stream")]
