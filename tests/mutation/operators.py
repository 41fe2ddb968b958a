"""What cosmic-ray's operators leave out: statements, keyword arguments, SQL in strings, Lua."""

import re

import parso
from cosmic_ray.operators.operator import Operator

# One way to break a text each: where, and what is put there. A group that is named `kept` stays.
_ANY = [
    (r"<=", "<"),
    (r">=", ">"),
    (r"(?<![<>=-])<(?![=>])", "<="),
    (r"(?<![<>=-])>(?![=>])", ">="),
    (r"(?<![\w%$:.])\d+(?![\w.])", lambda found: str(int(found[0]) + 1)),
    (r"(?<![\w%$:.])[1-9]\d*(?![\w.])", lambda found: str(int(found[0]) - 1)),
]
SQL = [
    *_ANY,
    (r"(?<=\s)=(?=\s)", "<>"),
    (r"\bAND\b", "OR"),
    (r"\bOR\b(?! REPLACE)", "AND"),
    (r"\bNOT\s(?!NULL)", ""),
    (r"\bIS NULL", "IS NOT NULL"),
    (r"\bIS NOT NULL", "IS NULL"),
    (r"\bDISTINCT\s", ""),
    (r"\bDESC\b", "ASC"),
    (r"\bSKIP LOCKED", ""),
    (r"\bFOR UPDATE\b( SKIP LOCKED)?", ""),
    (r"\bmin\(", "max("),
    (r"\bmax\(", "min("),
    (r"\bUNION ALL\b", "UNION"),
    (r"\bLEFT JOIN\b", "JOIN"),
    (r"\bON CONFLICT\b[^;\n]*DO NOTHING", ""),
    (r"\btrue\b", "false"),
    (r"\bfalse\b", "true"),
    (r"=\s?(FULL|WAL)\b", "= OFF"),
]
LUA = [
    *_ANY,
    (r"^[ \t]*redis\.call\(.*\)$", ""),
    (r"==", "~="),
    (r"~=", "=="),
    (r"\band\b", "or"),
    (r"\bor\b", "and"),
    (r"\bnot\s", ""),
]
_IS_SQL = re.compile(
    r"\b(SELECT|INSERT INTO|UPDATE|DELETE FROM|CREATE|ALTER|SET|LIMIT|WHERE|FROM|COPY|PRAGMA|LOCK"
    r"|AND|GROUP BY|ORDER BY|VALUES|JOIN)\b"
)


def breakages(text, ways):
    """Yield (offset, the whole text broken there) for each way and each place; not in comments."""
    for pattern, instead in ways:
        for found in re.finditer(pattern, text, re.MULTILINE):
            line = text[text.rfind("\n", 0, found.start()) + 1 : found.start()]
            if "--" not in line:
                yield (
                    found.start(),
                    text[: found.start()] + _put(instead, found) + text[found.end() :],
                )


def _put(instead, found):
    return instead if isinstance(instead, str) else instead(found)


class SqlText(Operator):
    """Breaks the SQL in a string, also between the braces of an f-string."""

    def mutation_positions(self, node):
        for offset, _ in self._breakages(node):
            lines = node.value[:offset].count("\n")
            column = offset - node.value.rfind("\n", 0, offset) - 1
            start = (node.start_pos[0] + lines, column + (0 if lines else node.start_pos[1]))
            yield start, (start[0], start[1] + 1)

    def mutate(self, node, index):
        node.value = list(self._breakages(node))[index][1]
        return node

    @staticmethod
    def _breakages(node):
        if node.type not in ("string", "fstring_string") or node.parent.type == "simple_stmt":
            return []  # the latter is a docstring
        return list(breakages(node.value, SQL)) if _IS_SQL.search(node.value) else []

    @classmethod
    def examples(cls):
        return ()


class DropStatement(Operator):
    """Leaves out a call whose result nobody takes."""

    def mutation_positions(self, node):
        if node.type == "simple_stmt" and _is_call(node.children[0]):
            yield node.children[0].start_pos, node.children[0].end_pos

    def mutate(self, node, index):
        first = node.get_first_leaf()
        instead = parso.parse("pass").children[0]
        instead.prefix = first.prefix
        node.children[0] = instead
        return node

    @classmethod
    def examples(cls):
        return ()


def _is_call(node):
    if node.type not in ("atom_expr", "await"):
        return False
    last = node.children[-1]
    return last.type == "trailer" and last.children[0].value == "("


class DropKeyword(Operator):
    """Leaves out a keyword argument of a call."""

    def mutation_positions(self, node):
        for argument in self.keywords(node):
            yield argument.start_pos, argument.end_pos

    def mutate(self, node, index):
        dropped = self.keywords(node)[index]
        at = node.children.index(dropped)
        comma = at + 1 if at + 1 < len(node.children) else at - 1
        drop = {at, comma} if node.type == "arglist" else {at}
        node.children = [child for i, child in enumerate(node.children) if i not in drop]
        return node

    @staticmethod
    def keywords(node):
        if node.type not in ("arglist", "trailer"):
            return []
        return [
            child
            for child in node.children
            if child.type == "argument" and getattr(child.children[1], "value", "") == "="
        ]

    @classmethod
    def examples(cls):
        return ()


OWN = {operator.__name__: operator for operator in (SqlText, DropStatement, DropKeyword)}
