"""Which tests reach a line, fastest first, from one run of the suite under coverage."""

import ast
import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from itertools import accumulate
from pathlib import Path

import coverage

_OF_THE_WHOLE = re.compile(r"tests/test_(readmes|routes|commands)\.py")
MOST_SECONDS = 90  # of tests for one mutant, as they were recorded: under coverage
LEFT_OUT = ("tests/browser", "tests/bench", "tests/dev", "tests/campaigns")


def record(root, folder, tests):
    """Run `tests` (all where empty) in the tree at `root`; add what they reach to `folder`."""
    folder.mkdir(exist_ok=True)
    data, config = folder / "reached", Path("tests/mutation/coverage.ini")
    environment = os.environ | {
        "COVERAGE_FILE": str(data),
        "COVERAGE_PROCESS_START": str(root / config),
        "MUTATION_SECONDS": str(folder / "seconds.json"),
    }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.mutation.recording",
               "--timeout", "300", *(tests or _ALL)]  # fmt: skip
    subprocess.run(command, cwd=root, env=environment, check=False)
    combined = coverage.Coverage(data_file=data, config_file=root / config)
    if data.exists():
        combined.load()
    combined.combine([str(folder)])
    combined.save()


_ALL = ("tests", *(f"--ignore={folder}" for folder in LEFT_OUT))


class Reached:
    def __init__(self, root, folder):
        self._root = root
        self._seconds = json.loads((folder / "seconds.json").read_text())
        self._data = coverage.CoverageData(folder / "reached")
        self._data.read()
        self._lines = {}

    def seconds(self, tests):
        return sum(self._seconds[test] for test in tests)

    def tests_of(self, mutant):
        """In the order to run them: those of the mutant's own folder first, module by module, and
        as many as take `MOST_SECONDS`."""
        tests = self._reaching(mutant.path, mutant.line) | self._reading(mutant.path)
        own = f"tests/{Path(mutant.path).parts[1]}/"
        modules = defaultdict(list)
        for test in sorted(tests & self._seconds.keys(), key=self._seconds.get):
            modules[test.partition("::")[0]].append(test)
        near = {name for name in modules if name.startswith(own) or _OF_THE_WHOLE.match(name)}
        near |= {test.partition("::")[0] for test in self._reading(mutant.path)}
        ordered = sorted(modules, key=lambda name: (name not in near, self.seconds(modules[name])))
        tests = [test for module in ordered for test in modules[module]]
        ends = accumulate(self._seconds[test] for test in tests)
        return [test for test, end in zip(tests, ends, strict=True) if end < MOST_SECONDS]

    def _reading(self, path):
        """Tests that read a file instead of running it have its path for their parameter."""
        return {test for test in self._seconds if test.endswith(f"[{path}]")}

    def _reaching(self, path, line):
        if path.endswith(".lua"):
            return self._of_file("app/intake/script.py")
        if path.endswith(".sql"):
            return {test for test in self._seconds if not test.startswith("tests/processes/")}
        inside, statement = self._statement(path, line)
        if inside:
            return set().union(*(self._of_line(path, number) for number in statement))
        # At import only: whoever uses the name that is made here, whoever uses the file, and the
        # tests of the file and of the whole.
        made = re.match(
            r"\s*(?:class |def |async def )?(\w+)", self._source(path)[statement[0] - 1]
        )
        own = f"tests/{Path(path).parts[1]}/test_{Path(path).stem}.py::"
        whole = {
            test for test in self._seconds if _OF_THE_WHOLE.match(test) or test.startswith(own)
        }
        return whole | self._of_file(path) | (self._users(made[1]) if made else set())

    def _users(self, name):
        word = re.compile(rf"\b{name}\b")
        return {
            test
            for path in self._root.glob("app/**/*.py")
            for number, text in enumerate(path.read_text().splitlines(), 1)
            if word.search(text)
            for test in self._of_line(str(path.relative_to(self._root)), number)
        }

    def _source(self, path):
        return (self._root / path).read_text().splitlines()

    def _statement(self, path, line):
        """Whether a line is in a function's body; the lines of its statement, less those in it."""
        inside, innermost = False, range(line, line + 1)
        for node in ast.walk(ast.parse("\n".join(self._source(path)))):
            if isinstance(node, ast.stmt) and node.lineno <= line <= node.end_lineno:
                body = getattr(node, "body", None)
                if body and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    inside = inside or line >= body[0].lineno
                end = body[0].lineno - 1 if body else node.end_lineno
                if line <= end:
                    innermost = range(node.lineno, end + 1)
        return inside, innermost

    def _of_file(self, path):
        return set().union(*self._contexts(path).values())

    def _of_line(self, path, line):
        return self._contexts(path).get(line, set())

    def _contexts(self, path):
        if path not in self._lines:
            # A process that a test started has the test's name with its phase after it.
            self._lines[path] = {
                line: {re.sub(r" \((setup|call|teardown)\)$", "", test) for test in tests if test}
                for line, tests in self._data.contexts_by_lineno(path).items()
            }
        return self._lines[path]
