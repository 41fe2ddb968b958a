"""The long forms: faults at random times for minutes, and bad input by the ten thousand.

pytest -m campaign tests/campaigns --campaign-minutes 10 --campaign-seed 7
"""

import json
import random
import time
from http.client import HTTPConnection
from pathlib import Path

import psutil
import pytest
import schemathesis
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode

from tests.calls import CONTEXT, PATH, event, query
from tests.campaigns.ledger import Ledger
from tests.campaigns.tcp_proxy import BLACK_HOLE, LATE, PASS, REFUSE, RESET
from tests.campaigns.test_faults import QUICK_WORKER, assert_exactly_once
from tests.processes.running import ROOT, wait_until

pytestmark = [pytest.mark.campaign, pytest.mark.slow, pytest.mark.timeout(0)]


def cut(line, mode):
    def fault(system, rng):
        proxy = getattr(system, line)
        proxy.switch(mode)
        time.sleep(rng.uniform(0.5, 4))
        proxy.switch(PASS)

    return fault


def away(*servers):
    def fault(system, rng):
        for server in servers:
            (system.kill_redis if server == "redis" else system.shut_postgres_down)()
        time.sleep(rng.uniform(0.2, 6))
        for server in servers:
            (system.start_redis if server == "redis" else system.start_postgres)()

    return fault


def frozen(server):
    def fault(system, rng):
        process = system.redis_process() if server == "redis" else system.postgres_process()
        with system.frozen(process):
            time.sleep(rng.uniform(0.5, 4))

    return fault


def kill_worker(system, rng):
    system.workers.pop(rng.randrange(len(system.workers))).kill()
    system.start_worker(QUICK_WORKER)


def empty_redis_of_what_was_seen(system, rng):
    client = system.valkey.client()
    for key in client.keys("{t0}:seen:*"):
        client.delete(key)


FAULTS = {
    "web killed": lambda system, rng: system.kill_web(),
    "worker killed": kill_worker,
    "redis killed": away("redis"),
    "postgres shut down": away("postgres"),
    "both away": away("redis", "postgres"),
    "redis frozen": frozen("redis"),
    "postgres frozen": frozen("postgres"),
    "seen ids emptied": empty_redis_of_what_was_seen,
} | {
    f"{line.replace('_', ' ')} {mode}": cut(line, mode)
    for line in ("to_redis", "to_postgres", "workers_to_redis", "workers_to_postgres")
    for mode in (REFUSE, RESET, BLACK_HOLE, LATE)
}


def test_faults_at_random_lose_nothing_and_store_nothing_twice(system, pytestconfig, capsys):
    seed = pytestconfig.getoption("campaign_seed")
    rng = random.Random(seed)
    ledger = Ledger(system.web_port, seed)
    system.start_web()
    for _ in range(2):
        system.start_worker(QUICK_WORKER)
    ledger.start()
    end = time.monotonic() + 60 * pytestconfig.getoption("campaign_minutes")
    while time.monotonic() < end:
        time.sleep(rng.uniform(0.2, 2))
        name = rng.choice(list(FAULTS))
        FAULTS[name](system, rng)
        ledger.faults[name] += 1
    ledger.stop()
    wait_until(lambda: ledger.is_settled(system), 180)

    report = {"seed": seed, **ledger.report(system.stored())}
    file = Path(ROOT, ".dev", "campaign.json")
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(report, indent=2))
    with capsys.disabled():
        print(f"\n{json.dumps(report, indent=2)}\nwritten to {file}")
    assert (report["lost"], report["twice"], report["strangers"]) == (0, 0, 0)
    assert not [reply for reply in report["replies"] if reply.startswith("5")]
    assert system.poisoned() == []


def test_both_servers_away_for_minutes_cost_no_event(system, ledger, pytestconfig):
    system.start_web()
    system.start_worker(QUICK_WORKER)
    ledger.start()
    time.sleep(1)
    with system.without_redis(), system.without_postgres():
        time.sleep(60 * pytestconfig.getoption("campaign_minutes") / 5)
    time.sleep(5)
    report = assert_exactly_once(system, ledger, 180)
    assert set(report["replies"]) == {"200 success"}, report


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=30)
    | st.sampled_from(
        ["2024-01-15T10:30:00Z", "widget:a", "\ud83d", "\0", "\\u0000", "x" * 40_000]
    ),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["event", "timestamp", "$insert_id", "properties", "$session_id", "\0"])
            | st.text(max_size=5),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)
timestamps = st.datetimes().map(lambda moment: moment.isoformat()) | st.text(
    "0-9TZ:+.", max_size=30
)
events = st.builds(lambda **fields: event(**fields), timestamp=timestamps) | values
bodies = st.builds(
    lambda events, context: {"events": events, "context": context},
    st.lists(events, max_size=4) | values,
    st.just(CONTEXT) | values,
)
raw_bodies = st.one_of(
    bodies.map(lambda body: json.dumps(body).encode()),
    values.map(lambda value: json.dumps(value).encode()),
    st.binary(max_size=300),
    st.integers(1, 3_000).map(lambda depth: b'{"events":' + b"[" * depth + b"]" * depth + b"}"),
)


def test_bad_input_never_harms(system, pytestconfig, capsys):
    kinds = ("SHOP", "VISITOR", "SHOP_BYTES", "VISITOR_BYTES", "REJECTED")
    system.start_web(**{f"RATE_LIMIT_{kind}_PER_MINUTE": "0" for kind in kinds})
    system.start_worker()
    web = psutil.Process(system.webs[0].process.pid)
    cases = pytestconfig.getoption("campaign_cases")
    connection = HTTPConnection("127.0.0.1", system.web_port, timeout=20)
    memory = []

    def call(query_string, raw, encoding):
        connection.request("POST", f"{PATH}?{query_string}", raw, {"Content-Encoding": encoding})
        reply = connection.getresponse()
        document = json.loads(reply.read())
        assert reply.status in {200, 400, 401, 413, 415}, document
        assert isinstance(document["success"], bool)
        assert document.get("code") != "NOT_STORED"

    def measure():
        memory.append(sum(one.memory_info().rss for one in [web, *web.children()]) // 2**20)

    @settings(max_examples=cases // 4, deadline=None, suppress_health_check=list(HealthCheck))
    @given(raw_bodies, st.sampled_from(["", "gzip", "br"]))
    def bodies_of_any_kind(raw, encoding):
        call(query(), raw, encoding)

    @settings(max_examples=cases // 4, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.text("abcdefgh%&=+;0123456789_.-", max_size=200))
    def queries_of_any_kind(text):
        call(text, b"{}", "")

    for _ in range(2):
        bodies_of_any_kind()
        measure()
        queries_of_any_kind()
        measure()
    connection.close()
    with capsys.disabled():
        print(f"\nresident memory of all web processes after each quarter, MB: {memory}")
    assert memory[-1] < memory[0] * 1.2 + 10
    wait_until(lambda: system.valkey.client().xlen("{t0}:stream") == 0, 120)
    assert system.poisoned() == []


def test_the_description_of_the_api_holds_under_schemathesis(system, pytestconfig):
    system.start_web()
    system.start_worker()
    description = yaml.safe_load((ROOT / "config" / "openapi.yaml").read_text())
    schema = schemathesis.openapi.from_dict(description)
    schema.config.generation.update(modes=[GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
    operation = schema[PATH]["POST"]

    @settings(
        max_examples=pytestconfig.getoption("campaign_cases") // 10,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy())
    def call(case):
        case.query = dict(pair.split("=", 1) for pair in query().split("&"))
        case.query["path_prefix"] = "/apps/proxy_genlook-x"
        reply = case.call(base_url=f"http://127.0.0.1:{system.web_port}")
        assert reply.status_code < 500
        assert isinstance(reply.json()["success"], bool)
        assert reply.status_code != 401, reply.text

    call()
    assert system.poisoned() == []
