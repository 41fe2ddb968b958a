import pytest

from app.tracking.user_agent import device
from tests.calls import CONTEXT, body
from tests.cases import CASES

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


@pytest.mark.parametrize("case", CASES["user_agents"], ids=lambda case: case["user_agent"][-40:])
def test_phones_called_bot_are_phones_and_programs_are_not(case):
    told = device(case["user_agent"])
    assert {name: told.get(name) for name in case if name != "user_agent"} == {
        name: word for name, word in case.items() if name != "user_agent"
    }


@pytest.mark.parametrize(
    "user_agent",
    ["BingPreview/1.0b", "Y!J-BRW/1.0", "Mozilla/5.0 (compatible; Y!J-ASR/1.0)", "Twitterbot",
     "TelegramBot (like TwitterBot)", "Mozilla/5.0 (compatible; coccocbot-image/1.0)",
     "Mozilla/5.0 (compatible; archive.org_bot +http)", "(compatible; SemrushBot-SA/0.97)",
     "Mozilla/5.0 (Macintosh) HeadlessChrome/120.0", "facebookexternalhit/1.1"],
)  # fmt: skip
def test_a_program_that_says_what_it_is_is_a_robot(user_agent):
    assert device(user_agent)["device_class"] == "bot"


@pytest.mark.parametrize("model", ["CUBOT", "CUBOT_X30", "CUBOT P80; wv", "M bot 51 Build/X"])
def test_a_phone_is_no_robot(model):
    user_agent = f"Mozilla/5.0 (Linux; Android 13; {model}) {CHROME} Mobile Safari/537.36"
    assert device(user_agent) == {"device_class": "mobile", "browser": "Chrome", "os": "Android"}


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
