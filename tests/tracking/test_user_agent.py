import pytest

from app.tracking.user_agent import device
from tests.calls import CONTEXT, body

KHTML = "AppleWebKit/605.1.15 (KHTML, like Gecko)"
CHROME = f"{KHTML} Chrome/126.0.0.0"
IPHONE = (
    f"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) {KHTML} Mobile/15E148 Safari/604.1"
)


@pytest.mark.parametrize(
    ("user_agent", "words"),
    [
        (IPHONE, "mobile Safari iOS"),
        (f"{IPHONE} [FBAN/FBIOS;FBAV/470.0]", "mobile Facebook iOS"),
        (f"Mozilla/5.0 (Windows NT 10.0) {CHROME} Safari/537.36", "desktop Chrome Windows"),
        (f"Mozilla/5.0 (Windows NT 10.0) {CHROME} Safari/537.36 Edg/126", "desktop Edge Windows"),
        (f"(Linux; Android 14; Pixel 8) {CHROME} Mobile Safari/537.36", "mobile Chrome Android"),
        (f"(Linux; Android 13; SM-X700) {CHROME} Safari/537.36", "tablet Chrome Android"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15) Firefox/127.0", "desktop Firefox macOS"),
        ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "bot"),
        ("nonsense", ""),
    ],
)
def test_a_user_agent_is_told_in_three_words(user_agent, words):
    assert " ".join(device(user_agent).values()) == words


def test_device_browser_and_system_have_columns_of_their_own(caller):
    caller.post(body(context={**CONTEXT, "$raw_user_agent": IPHONE}))
    [batch] = caller.rows("batches", "id")
    assert (batch["device_class"], batch["browser"], batch["os"]) == ("mobile", "Safari", "iOS")
    [row] = caller.rows()
    assert row["context"]["$raw_user_agent"] == IPHONE


def test_a_user_agent_of_the_wrong_type_costs_nothing(caller):
    caller.post(body(context={**CONTEXT, "$raw_user_agent": ["x"]}))
    [batch] = caller.rows("batches", "id")
    assert batch["device_class"] is None
    assert batch["context"]["$raw_user_agent"] == ["x"]


def test_an_entry_of_the_release_before_is_stored(caller, redis_client):
    caller.post(body())
    [(entry, fields)] = redis_client.xrange("{t0}:stream")
    redis_client.xdel("{t0}:stream", entry)
    assert fields[b"batch"].endswith(b"\t\\N\t\\N\t\\N")
    redis_client.xadd(
        "{t0}:stream", {**fields, b"batch": fields[b"batch"].removesuffix(b"\t\\N\t\\N\t\\N")}
    )
    assert len(caller.rows()) == 1
