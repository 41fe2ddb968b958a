"""Every mutant of app/, one change each; a sample of them that depends on the seed alone."""

import difflib
import hashlib
import re
from collections import defaultdict
from functools import cache
from typing import NamedTuple

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

from tests.mutation.operators import LUA, OWN, SQL, DropKeyword, breakages

TEXTS = {".sql": SQL, ".lua": LUA}
# What nobody can notice, by its line (README.md says why): a cache and its size, zip's strict.
_CACHE, _ZIP = re.compile(r"\s*@(lru_)?cache\b"), re.compile(r"\bzip\(.*\bstrict=True\)")


class Mutant(NamedTuple):
    path: str  # within the tree
    line: int
    operator: str
    occurrence: int  # of the operator in the file

    def __str__(self):
        return f"{self.path}:{self.line} {self.operator} {self.occurrence}"


def sample(root, seed, size):
    """`size` mutants of the tree at `root`, each at another place.

    A place's rank is a hash of the seed and its line, so a change elsewhere does not draw others.
    """
    ranked = sorted((_rank(seed, place), variants) for place, variants in _places(root).items())
    mutants = (variants[int(rank[:8], 16) % len(variants)] for rank, variants in ranked)
    valid = (mutant for mutant in mutants if _is_valid(root, mutant))
    return [mutant for mutant, _ in zip(valid, range(size), strict=False)]


def mutated(root, mutant):
    """The file's text before and after."""
    before = (root / mutant.path).read_text()
    suffix = mutant.path[mutant.path.rfind(".") :]
    if suffix in TEXTS:
        return before, list(breakages(before, TEXTS[suffix]))[mutant.occurrence][1]
    return before, mutate_code(before, _operators()[mutant.operator], mutant.occurrence)


def difference(root, mutant):
    before, after = (text.splitlines() for text in mutated(root, mutant))
    changed = list(difflib.unified_diff(before, after, lineterm="", n=0))[3:]
    return "\n".join(changed)


def _rank(seed, place):
    return hashlib.sha256(repr((seed, *place)).encode()).hexdigest()


@cache
def _operators():
    classes = {name.partition("/")[2]: get_operator(name) for name in operator_names()}
    return {name: kind() for name, kind in (classes | OWN).items() if not kind.arguments()}


def _places(root):
    """Mutants by (path, line's text, how many such places came before, kind of operator)."""
    at = defaultdict(list)
    for path in sorted(file for file in (root / "app").rglob("*") if file.is_file()):
        name = str(path.relative_to(root))
        if not name.startswith("app/dev/"):
            for column, kind, mutant in _of_file(path, name):
                at[name, mutant.line, column, kind].append(mutant)
    places, seen = {}, defaultdict(int)
    lines = {name: (root / name).read_text().splitlines() for name, *_ in at}
    for (name, line, _, kind), variants in sorted(at.items()):
        text = lines[name][line - 1].strip()
        seen[name, text, kind] += 1
        places[name, text, seen[name, text, kind], kind] = variants
    return places


def _of_file(path, name):
    if path.suffix in TEXTS:
        text = path.read_text()
        for occurrence, (offset, _) in enumerate(breakages(text, TEXTS[path.suffix])):
            line = text.count("\n", 0, offset) + 1
            yield offset, "Text", Mutant(name, line, "Text", occurrence)
    elif path.suffix == ".py":
        nodes = list(ast_nodes(get_ast(path.read_text())))
        lines = path.read_text().splitlines()
        for operator, way in _operators().items():
            positions = (
                (start, node) for node in nodes for start, _ in way.mutation_positions(node)
            )
            for occurrence, (start, node) in enumerate(positions):
                if not _is_nothing(node) and not _is_unseen(operator, node, lines[start[0] - 1]):
                    kind = operator.partition("_")[0]
                    yield start[1], kind, Mutant(name, start[0], operator, occurrence)


def _is_unseen(operator, node, line):
    """Only the cache, or the keyword and its value: what else stands on the line is mutated."""
    if _CACHE.match(line):
        return True
    if operator == "DropKeyword" and _ZIP.search(line):
        return [one.get_code().strip() for one in DropKeyword.keywords(node)] == ["strict=True"]
    return (
        operator == "ReplaceTrueWithFalse"
        and bool(_ZIP.search(line))
        and node.parent.get_code().strip() == "strict=True"
    )


def _is_nothing(node):
    while parent := node.parent:
        if parent.type == "annassign" and parent.children[1] is node:
            return True
        if parent.type == "parameters" and node.type == "operator":  # the star before keywords
            return True
        if parent.type in ("tfpdef", "param") and node.type != "operator":
            return (
                parent.type == "tfpdef"
                or "=" not in parent.get_code().partition(node.get_code())[0]
            )
        if parent.type == "funcdef" and parent.annotation is node:
            return True
        if parent.type == "decorator" and parent.get_code().strip().startswith("@dataclass("):
            return True
        node = parent
    return False


def _is_valid(root, mutant):
    try:
        _, text = mutated(root, mutant)
        if mutant.path.endswith(".py"):
            compile(text, mutant.path, "exec", dont_inherit=True)
    except AttributeError:  # cosmic-ray cannot replace `except module.Error`
        return False
    except (SyntaxError, ValueError):
        return False
    return True
