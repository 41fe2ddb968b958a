"""What the READMEs name is there: files, headings, commands, settings, events."""

import re
from pathlib import Path

import pytest

from app import create_app
from app.tracking.schemas import CATALOGUE

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
