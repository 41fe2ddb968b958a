"""`python -m tests.mutation`: do the tests notice when a line of app/ breaks? See README.md."""

import argparse
import json
import queue
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from tests.mutation.mutants import difference, sample
from tests.mutation.reached import Reached, record
from tests.mutation.running import copy_of, place, try_out

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".mutation"
KILLED = ("killed", "timeout")


def main():
    options = _options()
    if options.record is not None or not (FOLDER / "reached").exists():
        with copy_of(ROOT) as tree:
            record(tree, FOLDER, options.record)
    if options.sample:
        report = FOLDER / f"seed-{options.seed}.json"
        known = json.loads(report.read_text()) if report.exists() and options.again else {}
        for mutant, outcome in _outcomes(options, known):
            known[mutant] = outcome
            report.write_text(json.dumps(known, indent=1))
        _print(known)


def _outcomes(options, known):
    mutants = sample(ROOT, options.seed, options.sample)
    todo = [mutant for mutant in mutants if known.get(str(mutant), {}).get("verdict") not in KILLED]
    reached = Reached(ROOT, FOLDER)
    places = queue.Queue()
    with ExitStack() as stack, ThreadPoolExecutor(options.jobs) as threads:
        for _ in range(options.jobs):
            places.put(stack.enter_context(place(ROOT)))

        def run(mutant):
            tests = reached.tests_of(mutant)
            place_ = places.get()
            try:
                return mutant, try_out(place_, mutant, tests, reached.seconds(tests)), len(tests)
            finally:
                places.put(place_)

        for mutant, outcome, count in threads.map(run, todo):
            print(
                f"{outcome.verdict:9} {outcome.seconds:4.0f} s {count:5} tests", mutant, outcome.by
            )
            sys.stdout.flush()
            yield (
                str(mutant),
                {**outcome._asdict(), "tests": count, "change": difference(ROOT, mutant)},
            )


def _print(known):
    for mutant, outcome in known.items():
        if outcome["verdict"] not in KILLED:
            print(f"\n{outcome['verdict']}: {mutant}\n{outcome['change']}")
    killed = sum(outcome["verdict"] in KILLED for outcome in known.values())
    print(f"\n{killed} of {len(known)} killed ({killed / max(1, len(known)):.0%})")


def _options():
    parser = argparse.ArgumentParser("python -m tests.mutation", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sample", type=int, default=60, help="how many mutants")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time")
    parser.add_argument("--again", action="store_true", help="only those not killed last time")
    parser.add_argument("--record", nargs="*", metavar="TEST",
                        help="find out first which lines the tests (or these) reach")  # fmt: skip
    return parser.parse_args()


if __name__ == "__main__":
    main()
