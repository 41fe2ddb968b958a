"""Imports run one way: from the routes down to the batch, and nowhere in a circle."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Each room with those it may import, from the bottom up. A loose file of app/ is a room too.
ROOMS = {
    "config": set(),
    "shopify": set(),
    "batch": set(),
    "counts": {"batch"},
    "replies": set(),
    "sentry": {"config"},
    "commands": {"config"},
    "store": {"batch", "commands", "config"},
    "intake": {"batch", "store", "config"},
    "metrics": {"intake", "config"},
    "tracking": {"batch", "intake", "replies", "responses", "shopify", "config"},
    "tracing": {"batch", "intake", "replies", "shopify", "tracking", "config"},
    "responses": {"replies", "config"},
    "tracker": {"counts", "replies", "responses", "shopify", "config"},
    "privacy": {"batch", "commands", "counts", "intake", "shopify", "store", "config"},
    "rejected": {"batch", "commands", "store", "tracking", "config"},
    "webhooks": {"batch", "privacy", "replies", "responses", "shopify", "store", "config"},
    "health": {"batch", "commands", "counts", "intake", "metrics", "replies", "responses", "store",
               "config"},
    "merchant": {"batch", "commands", "counts", "health", "replies", "responses", "shopify",
                 "store", "config"},
    "worker": {"batch", "commands", "counts", "intake", "metrics", "privacy", "sentry", "store",
               "tracing", "webhooks", "config"},
    "server": {"intake", "metrics", "replies", "shopify", "tracking", "config"},
}  # fmt: skip
# May import all: the factory, the list of commands, what runs on a developer's machine.
ABOVE = {"__init__", "cli", "dev"}
ROUTES = {"routes.py", "__init__.py"}  # of a room: where Flask is known


def room_of(path):
    inside = path.relative_to(ROOT).parts
    return "config" if inside[0] == "config" else inside[1].removesuffix(".py")


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


FILES = sorted([*ROOT.glob("app/**/*.py"), *ROOT.glob("config/*.py")])


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_imports_only_what_is_below_it(path):
    room = room_of(path)
    if room in ABOVE:
        return
    for name in imported(path):
        top, _, rest = name.partition(".")
        if top in ("app", "config"):
            other = "config" if top == "config" else rest.partition(".")[0]
            assert other == room or other in ROOMS[room], f"{room} imports {name}"


def test_no_two_rooms_reach_each_other():
    below = {room: set(others) for room, others in ROOMS.items()}
    while below:
        bottom = {room for room, others in below.items() if not others & below.keys()}
        assert bottom, f"a circle within {sorted(below)}"
        below = {room: others for room, others in below.items() if room not in bottom}


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if room_of(path) in ROOMS and path.name not in ROUTES],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_only_routes_know_flask(path):
    known = {"responses.py", "access.py"}
    names = {name.partition(".")[0] for name in imported(path)}
    assert path.name in known or room_of(path) == "server" or not names & {"flask", "werkzeug"}


def test_the_factory_has_few_neighbours():
    loose = {path.name for path in ROOT.glob("app/*.py")}
    assert loose == {"__init__.py", "cli.py", "commands.py", "replies.py", "responses.py",
                     "sentry.py"}  # fmt: skip


def is_private(name):
    return name.startswith("_") and not name.startswith("__")


def private_names_of_others(tree):
    """Underscored names that are imported, or are an attribute that the file itself never makes."""
    made, used = {"_exit"}, set()  # os._exit is a public name
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom | ast.Import):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            yield from (part for name in names for part in name.split(".") if is_private(part))
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            made.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            made.add(node.id)
        elif isinstance(node, ast.Attribute) and is_private(node.attr):
            own = isinstance(node.value, ast.Name) and node.value.id == "self"
            (made if own and isinstance(node.ctx, ast.Store) else used).add(node.attr)
    yield from used - made


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_private_name_of_another_library_or_file_is_used(path):
    assert not list(private_names_of_others(ast.parse(path.read_text())))
