"""Load with wrk: https://github.com/wg/wrk"""

import itertools
import json
import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from app.shopify.app_proxy import sign
from tests.bench.processes import PATH, SECRET

_SCRIPT = Path(__file__).with_name("load.lua")
_COOL_DOWN = 2  # s, in which what is under way is answered
_seeds = itertools.count(time.time_ns() % 2**40)


@dataclass(frozen=True)
class Load:
    """Batches of `events` events, `repeats` per cent of them sent before, over `connections`."""

    events: int = 5
    connections: int = 16
    repeats: int = 0
    seconds: float = 5
    pause: float = 0  # ms between a reply and the next request of its connection
    shops: int = 1


class LoadError(Exception):
    """One line: what is missing, or what went wrong."""


def run_load(load: Load, port: int, folder: Path) -> dict:
    """What wrk says: batches sent and answered, distinct ids, errors, latencies in ms."""
    if not shutil.which("wrk"):
        raise LoadError("wrk is not installed: apt-get install wrk")
    paths = folder / "paths.txt"
    # Signed half a minute ahead: a signature holds for 90 s either way.
    timestamp = str(int(time.time()) + 30)
    paths.write_text(
        "".join(f"{PATH}?{_query(number, timestamp)}\n" for number in range(load.shops))
    )
    env = {
        "PATH": os.environ["PATH"],
        "BENCH_PATHS": str(paths),
        "BENCH_EVENTS": str(load.events),
        "BENCH_REPEATS": str(load.repeats),
        "BENCH_SECONDS": str(load.seconds),
        "BENCH_PAUSE": str(load.pause),
        "BENCH_SEED": str(next(_seeds)),
    }
    duration = int(load.seconds + _COOL_DOWN)
    command = ["wrk", "-t1", f"-c{load.connections}", f"-d{duration}s", "-s", str(_SCRIPT)]
    done = subprocess.run(
        [*command, f"http://127.0.0.1:{port}{PATH}"],
        env=env, capture_output=True, text=True, check=False, timeout=duration + 30,
    )  # fmt: skip
    if done.returncode:
        raise LoadError(f"wrk failed: {done.stderr.strip() or done.stdout.strip()}")
    return json.loads(done.stdout.splitlines()[-1])


def _query(number: int, timestamp: str) -> str:
    return sign(
        [
            ("shop", f"shop-{number}.myshopify.com"),
            ("logged_in_customer_id", ""),
            ("path_prefix", "/apps/proxy_genlook-x"),
            ("timestamp", timestamp),
        ],
        SECRET,
    )
