"""What the READMEs name is there: files, headings, commands, settings, events."""

import re
from pathlib import Path

import pytest

from app import create_app, intake
from app.batch import news
from app.counts import counting, forgetting, journeys, measures, stored, tally, values
from app.intake import breaker, memory, redis_client, reserve
from app.metrics import reporter
from app.privacy import requests, work
from app.server import request
from app.store import connections, rejected
from app.tracking import body, schemas, validation
from app.tracking.schemas import CATALOGUE
from app.worker import consumer, consuming, housekeeping

ROOT = Path(__file__).parents[1]
READMES = [
    path
    for path in [*ROOT.glob("*.md"), *ROOT.glob("[!.]*/**/README.md")]
    if not {"node_modules", "vendor"} & {*path.relative_to(ROOT).parts}
]
TOPICS = {"app/uninstalled"}  # of webhooks; they look like files

each_readme = pytest.mark.parametrize("path", READMES, ids=lambda path: str(path.relative_to(ROOT)))


def code_in(text):
    """Fenced blocks, then what stands between single backticks."""
    blocks = re.findall(r"^ *```\w*\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    rest = re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)
    return [*blocks, *(span.replace("\n", " ") for span in re.findall(r"`([^`]+)`", rest))]


def anchors_of(path):
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


@each_readme
def test_links_lead_somewhere(path):
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", path.read_text()):
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), link
        assert not anchor or anchor in anchors_of(target), link


@each_readme
def test_files_in_code_exist(path):
    code = "\n".join(code_in(path.read_text()))
    names = re.findall(r"(?<![\w/….-])(?:app|config|tests|\.ci)/[\w./-]+", code)
    modules = [f"{name.replace('.', '/')}*" for name in re.findall(r"-m (tests\.[\w.]+)", code)]
    for name in {*names, *modules} - TOPICS:
        assert [*ROOT.glob(name)] or "NAME" in name, name


@each_readme
def test_flask_commands_and_their_options_exist(path, monkeypatch):
    commands = {"flask": cli_of(monkeypatch)}
    code = "\n".join(code_in(path.read_text()))
    for group, name, rest in re.findall(r"\bflask ([a-z]+)(?: ([a-z]+))?([^\n#]*)", code):
        command = commands["flask"].get(group)
        assert command, f"flask {group}"
        if name and hasattr(command, "commands"):
            assert name in command.commands, f"flask {group} {name}"
            command = command.commands[name]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {*re.findall(r"--[a-z-]+", rest)} <= known, f"flask {group} {name}{rest}"


def test_each_option_of_a_command_of_ours_says_what_it_is_for(monkeypatch):
    waiting = list(cli_of(monkeypatch).values())
    for command in waiting:
        waiting += getattr(command, "commands", {}).values()
        for option in command.params:
            is_ours = command.callback and command.callback.__module__.startswith("app.")
            if is_ours and option.param_type_name == "option":
                assert option.help, f"{command.name} {option.opts}"
    assert len(waiting) > 20


def cli_of(monkeypatch):
    for name, value in {
        "DATABASE_URL": "postgresql://localhost/none",
        "REDIS_URL": "redis://localhost",
        "SHOPIFY_API_SECRET": "secret",
    }.items():
        monkeypatch.setenv(name, value)
    return create_app().cli.commands


def test_the_first_page_is_one_page():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 220


def test_the_first_page_has_the_whole_catalogue():
    text = (ROOT / "README.md").read_text()
    assert [name for name in CATALOGUE if f"`{name}`" not in text] == []


def test_every_setting_is_in_a_group():
    names = re.findall(r"^([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    text = (ROOT / "config/README.md").read_text()
    assert [name for name in names if f"`{name}`" not in text] == []


MIB = 1024 * 1024
# What a README promises, with the numbers as groups, and where the code has them.
PROMISES = [
    ("README.md", r"At most (\d+) KiB on the\s+wire and (\d+) MiB once unpacked",
     lambda: (body.WIRE_LIMIT // 1024, body.BODY_LIMIT // MIB)),
    ("README.md", r"within its shop \(1 to (\d+) characters\)", lambda: (schemas.MAX_INSERT_ID,)),
    ("README.md", r"at most (\d+) KiB and (\d+) levels",
     lambda: (schemas.MAX_JSON // 1024, schemas.MAX_PROPERTIES_DEPTH)),
    ("README.md", r"`payload` \(up to (\d+) KiB of it\)",
     lambda: (validation._MAX_PAYLOAD // 1024,)),
    ("README.md", r"the worker does this every (\d+) hours",
     lambda: (housekeeping._MAINTAIN_EVERY / 3600,)),
    ("app/README.md", r"a growing while \(([\d.]+) to (\d+) s\)",
     lambda: (breaker._FIRST_PAUSE, breaker._LONGEST_PAUSE)),
    ("app/README.md", r"and every (\d+) s \(\[intake/trust", lambda: (intake.ASK_EVERY,)),
    ("app/README.md", r"a request line over ([\d,]+) bytes", lambda: (request.LINE_LIMIT,)),
    ("config/README.md", r"A web process opens up to (\d+) connections and a worker (\d+)",
     lambda: (connections.REQUEST_POOL_SIZE + connections.REPORT_POOL_SIZE,
              connections.WORKER_CONNECTIONS)),
    ("config/README.md", r"at the latest (\d+) seconds after its first batch",
     lambda: (consuming._SEARCH_EVERY,)),
    ("config/README.md", r"the spool, (\d+) MiB are held in reserve",
     lambda: (reserve._BYTES / MIB,)),
    ("config/README.md", r"its figures to Redis every (\d+) seconds", lambda: (reporter._EVERY,)),
    ("config/README.md", r"is gone (\d+) seconds after the process is",
     lambda: (reporter.LIFETIME,)),
    ("config/README.md", r"another machine's after (\d+) s",
     lambda: (consumer.RECLAIM_AFTER / 1000,)),
    ("config/README.md", r"takes it within (\d+) seconds of its start",
     lambda: (consumer.RECLAIM_EVERY,)),
    ("config/README.md", r"up to (\d+) events of a cause .* and ([\d,]+) or (\d+) MiB in all",
     lambda: (rejected.MOST_OF_A_CAUSE, rejected.MOST_ROWS, rejected.MOST_BYTES / MIB)),
    ("app/counts/README.md", r"the oldest first, (\d+) MB in all", lambda: (counting.MOST / MIB,)),
    ("app/counts/README.md", r"(\d+) bytes for each event, up to ([\d,]+) ",
     lambda: (journeys.SIZE, journeys.MOST_EVENTS)),
    ("app/counts/README.md", r"those of ([\d,]+) days before an",
     lambda: (news.LATEST.days,)),
    ("app/counts/README.md", r"Numbers go (\d+) days after", lambda: (forgetting._SHOWN.days,)),
    ("app/counts/README.md",
     r"([\d,]+) products, ([\d,]+) versions, ([\d,]+) devices, ([\d,]+) languages",
     lambda: tuple(values.MOST[dimension] for dimension in measures.GROUPS)),
    ("app/counts/README.md",
     r"announcements, ([\d,]+) long journeys, ([\d,]+) journeys of a rebuild and ([\d,]+) numbers",
     lambda: (journeys._AT_ONCE, stored._JOURNEYS_AT_ONCE, tally._LARGE)),
    ("app/counts/README.md", r"the counting of ([\d,]+) events", lambda: (journeys.MOST_EVENTS,)),
    ("app/intake/README.md",
     r"(\d+) rows of a cause, ([\d,]+) rows or (\d+) MiB in all, beyond that the first (\d+) of",
     lambda: (rejected.MOST_OF_A_CAUSE, rejected.MOST_ROWS, rejected.MOST_BYTES / MIB,
              rejected.FIRST_OF_A_CAUSE)),
    ("app/intake/README.md", r"it reads up to (\d+) MiB for a transaction",
     lambda: (consumer.READ_BYTES / MIB,)),
    ("app/intake/README.md", r"each of a (\d+)th of Redis's memory",
     lambda: (memory._SETS_OF_A_SHOP,)),
    ("app/intake/README.md", r"until (\d+) % of Redis's memory is in use",
     lambda: (memory._SHORT * 100,)),
    ("app/intake/README.md", r"leaves the stream out, tries it again every ([\d.]+) s",
     lambda: (consumer._JOIN_EVERY,)),
    ("app/intake/README.md", r"after one reply that is late by ([\d.]+) s",
     lambda: (redis_client.REQUEST_TIMEOUT,)),
    ("app/privacy/README.md", r"for you to send \| (\d+) days",
     lambda: (requests.EXPORT_RETENTION.days,)),
    ("app/privacy/README.md", r"salted digests of the erased ids stay for (\d+) days",
     lambda: (work._WATCH[-1][0].days,)),
    ("app/privacy/README.md", r"the next worker takes it up within (\d+) s",
     lambda: (requests._LEASE.total_seconds(),)),
    ("app/merchant/README.md", r"keep their numbers, for (\d+) days at most",
     lambda: (forgetting._SHOWN.days,)),
]  # fmt: skip


@pytest.mark.parametrize(("path", "words", "code"), PROMISES, ids=range(len(PROMISES)))
def test_the_numbers_that_are_promised_are_the_code_s(path, words, code):
    found = re.search(words.replace(" ", r"\s+"), (ROOT / path).read_text())
    assert found, "the sentence has changed"
    promised = [float(word.replace(",", "")) for word in found.groups()]
    assert promised == [pytest.approx(number) for number in code()]
