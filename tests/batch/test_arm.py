"""A visitor's arm is a fair draw, and the same in a browser and on the server."""

import json
import random
import shutil
import subprocess
import uuid
from itertools import product
from pathlib import Path

import pytest
from scipy.stats import chi2_contingency, chisquare

from app.batch.arm import hash32, is_held_back

ROOT = Path(__file__).parents[2]
CASES = json.loads((ROOT / "tests/batch/arms.json").read_text(encoding="utf-8"))
ARM_JS = (ROOT / "app/tracker/arm.js").read_text(encoding="utf-8")
NODE = shutil.which("node")
SCRIPT = """
const {experiments, ids} = JSON.parse(require("fs").readFileSync(0, "utf8"));
const arms = experiments.map((one) => ids.map((id) => armOf(one, () => id, 1)));
process.stdout.write(JSON.stringify(arms));
"""
NOBODY = ["undefined", "null", "NaN", "None", "[object Object]", "", "   ", '"undefined"',
          "00000000-0000-0000-0000-000000000000", ' " null " ']  # fmt: skip


def in_a_browsers_words(salt, share, client_id):
    return {True: "holdout", False: "widget", None: None}[is_held_back(salt, share, client_id)]


EXPERIMENTS = [
    {"salt": salt, "share": share, "start": 0, "end": None}
    for salt, share in (("5f0c1d2e3a4b5c6d", 10), ("ä", 1), ("s", 50))
]


def many_ids():
    draw = random.Random(17)
    ids = [str(uuid.UUID(int=draw.getrandbits(128), version=4)) for _ in range(80_000)]
    ids += [f"visitor-{number}" for number in range(10_000)]
    letters = 'aZ09-_:"\\ äß中é\u2028😀\0'
    ids += ["".join(draw.choices(letters, k=draw.randint(0, 40))) for _ in range(10_000)]
    return ids + NOBODY


def compare(ids, arms):
    for experiment, found in zip(EXPERIMENTS, arms, strict=True):
        assert found == [
            in_a_browsers_words(experiment["salt"], experiment["share"], id_) for id_ in ids
        ]
        share = found.count("holdout") / len(ids)
        assert share == pytest.approx(experiment["share"] / 100, rel=0.1)


# Where node is missing, tests/browser/test_arm.py does the same in Chromium.
@pytest.mark.slow
@pytest.mark.skipif(NODE is None, reason="no node on this machine")
def test_javascript_and_the_server_agree_on_100_000_ids():
    ids = many_ids()
    reply = subprocess.run(
        [NODE, "-e", ARM_JS + SCRIPT], input=json.dumps({"experiments": EXPERIMENTS, "ids": ids}),
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    compare(ids, json.loads(reply.stdout))


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['salt']}-{case['client_id']}")
def test_the_fixed_examples_hold(case):
    assert hash32(f"{case['salt']}:{case['client_id']}") == case["hash"]
    arm = in_a_browsers_words(case["salt"], case["share"], case["client_id"])
    assert arm == case["arm"]


@pytest.mark.parametrize("client_id", [*NOBODY, None])
def test_an_id_that_names_nobody_is_in_no_arm(client_id):
    assert is_held_back("salt", 50, client_id) is None


def ids_of(kind):
    draw = random.Random(kind)
    return {
        "uuid": [str(uuid.UUID(int=draw.getrandbits(128), version=4)) for _ in range(20_000)],
        "number": [str(number) for number in range(20_000)],
        "last": [f"550e8400-e29b-41d4-a716-{number:012x}" for number in range(20_000)],
        "first": [f"{number:08x}-e29b-41d4-a716-446655440000" for number in range(20_000)],
    }[kind]


@pytest.mark.parametrize(("kind", "salt"), [*product(["uuid", "number", "last", "first"], "abc")])
def test_every_percent_has_as_many_ids(kind, salt):
    counts = [0] * 100
    for id_ in ids_of(kind):
        counts[100 * hash32(f"{salt}:{id_}") >> 32] += 1
    assert chisquare(counts).pvalue > 0.0005


@pytest.mark.parametrize("kind", ["uuid", "number", "last", "first"])
def test_another_salt_draws_anew(kind):
    table = [[0] * 10 for _ in range(10)]
    for id_ in ids_of(kind):
        one, other = (10 * hash32(f"{salt}:{id_}") >> 32 for salt in ("2026-a", "2026-b"))
        table[one][other] += 1
    assert chi2_contingency(table).pvalue > 0.0005
